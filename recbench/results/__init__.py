"""The bundle of a finished run, and everything that is computed from it alone."""
