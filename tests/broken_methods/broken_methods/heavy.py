"""Imports a library of learning when it is listed."""

from __future__ import annotations

from dataclasses import dataclass

import scipy

from broken_methods.scorers import Honest


@dataclass(kw_only=True)
class Heavy(Honest):
    """Needs nothing of what its module imports."""

    used: str = scipy.__version__
    """Version of the library."""
