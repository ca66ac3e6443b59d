"""The guard of a worker: it keeps methods from the test targets, and records what they start.

Landlock binds everything in a process and its children, and tells nothing. Python's audit hook sees what
Python code opens and starts, refuses what Landlock would, and tells the driver. See docs/trust.md.
"""
