"""What installed packages bring beside their code: entry points by kind and name, and digests of code."""
