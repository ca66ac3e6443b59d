"""Dates and times of ISO 8601 as Unix times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from recbench.dataset.sources.raw import fail

TICKS = 1_000_000
"""Units a second of what is read."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def is_date(text: str) -> bool:
    """Whether `text` is a date, such as `2024-05-04`, or a date and time; digits alone are a number."""
    return not text.strip().isdigit() and _parsed(text) is not None


def moment(text: str, path: Path, line: int, column: str) -> int:
    """`text` in microseconds since 1970; one without a zone is read as UTC. DataError for what is no date."""
    found = _parsed(text)
    if found is None:
        fail(
            path,
            line,
            f"{column} = '{text}' is not a date",
            why="the first row has a date, so all rows must",
            fix="write dates such as 2024-05-04 or 2024-05-04T10:00:00+00:00, or numbers in all rows",
        )
    return (found - _EPOCH) // timedelta(microseconds=1)


def _parsed(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
