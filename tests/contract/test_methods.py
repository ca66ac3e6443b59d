"""recbench's own methods keep the contract, by the checks that anybody's method is given."""

from __future__ import annotations

import inspect
import re

import pytest

from recbench.conformance.checks import CHECKS
from recbench.testing import MethodContract


class TestPopularity(MethodContract):
    method = "popularity"


class TestTransition(MethodContract):
    method = "transition"


@pytest.mark.slow
class TestItemKNN(MethodContract):
    method = "itemknn"


@pytest.mark.slow
class TestSASRec(MethodContract):
    method = "sasrec:epochs=2"


@pytest.mark.slow
class TestDROS(MethodContract):
    method = "dros:epochs=2"


def test_each_check_is_a_test_of_the_class() -> None:
    required = re.findall(r'self\.require\("(.*?)"\)', inspect.getsource(MethodContract))
    assert required == list(CHECKS)
    tests = [name for name in vars(MethodContract) if name.startswith("test_")]
    assert tests == [f"test_{name.replace('-', '_')}" for name in CHECKS]
