"""For tests of methods, recbench's own and others: made-up data and runs, and the contract as a class."""

from recbench.testing.method_contract import MethodContract
from recbench.testing.toys import tiny_settings, toy_data, toy_run

__all__ = ["MethodContract", "tiny_settings", "toy_data", "toy_run"]
