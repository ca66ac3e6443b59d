"""An error of recbench as a JSON value, from a child process to its parent."""

from __future__ import annotations

from collections.abc import Mapping

from recbench import errors
from recbench.base.extensions import points
from recbench.errors import RecbenchError

HOMES = (errors.__name__, points.__name__)


def failure(error: RecbenchError) -> dict[str, str]:
    kind = next(cls.__name__ for cls in type(error).__mro__ if cls.__module__ in HOMES)
    return {"kind": kind, "what": error.what, "why": error.why, "fix": error.fix}


def error_of(record: Mapping[str, str]) -> RecbenchError:
    """The inverse of `failure`."""
    cls = getattr(errors, record["kind"], points.UnusablePluginError)
    found: RecbenchError = cls(record["what"], why=record["why"], fix=record["fix"])
    return found
