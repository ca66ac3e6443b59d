"""A third party that does not play fair."""
