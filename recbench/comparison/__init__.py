"""Differences between runs: estimates, intervals, tests, families, groups of ties."""
