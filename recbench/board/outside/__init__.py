"""What stands on a board beside recbench's own numbers."""
