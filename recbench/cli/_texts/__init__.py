"""What commands print that is longer than a few lines."""
