"""One of each thing that a package can bring to recbench beside methods."""
