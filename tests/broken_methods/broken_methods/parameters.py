"""Methods whose parameters are not what recbench can show and set."""

from __future__ import annotations

from dataclasses import dataclass

from broken_methods.scorers import Honest
from recbench.ranges import Positive


@dataclass(kw_only=True)
class Undocumented(Honest):
    """Has a parameter without a word about it."""

    beta: float = 0.1


@dataclass(kw_only=True)
class Mistyped(Honest):
    """Has a default that its own annotation refuses."""

    beta: Positive = 0.0
    """Outside its range."""


@dataclass(kw_only=True)
class Whole(Honest):
    """Has a default of another type than its annotation's."""

    beta: float = 1
    """A whole number."""


@dataclass(kw_only=True)
class Unannotated(Honest):
    """Has an attribute that looks like a parameter."""

    beta = 0.1
