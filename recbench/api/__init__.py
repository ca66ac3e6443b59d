"""What `import recbench` offers in Python, and what the commands share with it."""

from recbench.api import datasets

__all__ = ["datasets"]
