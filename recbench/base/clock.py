"""The time that records carry."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> str:
    """The time by UTC in ISO 8601, with microseconds where there are any: jobs are compared by it."""
    return datetime.now(UTC).isoformat()
