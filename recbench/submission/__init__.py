"""Finished runs for a board that others keep: the folder that a pull request adds, and its text."""
