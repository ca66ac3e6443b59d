"""What one finished run leaves, and what is computed from it alone."""
