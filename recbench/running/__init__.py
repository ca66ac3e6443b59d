"""Doing planned runs: workers, locks, costs, failures, on this machine or on Slurm."""
