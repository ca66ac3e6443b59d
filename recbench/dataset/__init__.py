"""From a card and raw files to a split on disk, and back out of it."""
