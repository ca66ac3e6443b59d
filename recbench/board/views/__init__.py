"""What a reader of a board can switch to."""
