"""Leaderboards: rows and views computed from bundles, their folder, their forms."""
