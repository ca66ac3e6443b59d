"""Why a run failed, as a record: its class, and what a user needs to fix it."""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recbench.base.extensions.points import OWN, UnusablePluginError
from recbench.errors import DataError, DigestError, RecbenchError, of_file
from recbench.results.bundle import FAILURES

TRACEBACK_LINES = 40
CALL = re.compile(r'\s*File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<function>\S+)')
"""A call in the text of a traceback."""
KILLED = (-9, 137)
"""Exit codes of a process that the kernel killed, seen by its parent and by a shell."""
ENDED = (130, -15, 143)
"""Exit codes of a process that was asked to end."""


class RecordedError(Exception):
    """A failure that comes with its record."""

    def __init__(self, message: str, record: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.record = record


class MethodError(Exception):
    """Wraps an exception of a method's own code, to tell its failures from the harness's."""


def failure_of(error: BaseException) -> dict[str, Any]:
    """A failure as a record: its class, and what a user needs to fix it."""
    cause = error.__cause__ if isinstance(error, MethodError) and error.__cause__ else error
    record = {
        "class": _failure_class(error, cause),
        "message": str(cause) or type(cause).__name__,
        "type": type(cause).__name__,
        "traceback": "".join(traceback.format_exception(cause)).splitlines()[-TRACEBACK_LINES:],
    }
    if isinstance(cause, OSError) and not isinstance(error, MethodError):
        cause = of_file(cause)
    if isinstance(cause, RecbenchError):
        record |= {"what": cause.what, "why": cause.why, "fix": cause.fix}
    if isinstance(cause, UnusablePluginError):
        record["place"] = cause.place
    return record


def reported(event: Mapping[str, Any]) -> dict[str, Any]:
    """The failure that a worker reports, with nothing in it that no record can hold."""
    texts = ("message", "type", "what", "why", "fix", "place")
    record: dict[str, Any] = {name: event[name] for name in texts if isinstance(event.get(name), str)}
    record["class"] = event["class"] if event["class"] in FAILURES else "method"
    lines = event.get("traceback")
    record["traceback"] = [str(line) for line in lines] if isinstance(lines, list) else []
    return record


def silent_death(verb: str, code: int) -> dict[str, Any]:
    """The record of a worker that ended with `code` and reported no failure."""
    if code in KILLED:  # the kernel sends this signal when memory runs out; nothing else here does
        return {"class": "oom", "message": f"the {verb} process was killed: the machine ran out of memory"}
    if code in ENDED:
        return {"class": "harness", "message": f"the {verb} process was terminated from outside recbench"}
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return {
        "class": "method",
        "message": f"the {verb} process ended with {how} before it was done; see log.txt",
    }


def too_late(verb: str, seconds: float) -> dict[str, Any]:
    """The record of a worker that was ended at the time limit of its run."""
    return {
        "class": "timeout",
        "message": f"the run was ended during its {verb}: it may take {seconds:g} seconds",
        "fix": "the same command with a longer --time goes on from what the fit has saved",
    }


def of_method(record: Mapping[str, Any], *, method: str, package: str, place: str) -> Mapping[str, Any]:
    """The record of a failure, with whose fault it is where a method's own code failed."""
    if record["class"] != "method":
        return record
    said = record.get("what") or ": ".join(part for part in (record.get("type"), record["message"]) if part)
    is_of_another = record.get("type") == UnusablePluginError.__name__  # which it names
    return {
        **record,
        "what": said if is_of_another else f"method '{method}' of {package}: {said}",
        "at": place_in(record.get("traceback", ()), record.get("place") or place),
        "fix": record.get("fix") or f"fix {place}; recbench logs shows what it printed",
    }


def place_in(traceback_lines: Sequence[str], place: str) -> str:
    """`FILE:LINE in FUNCTION` of the last call in the package of the class `module:Class`.

    Where it has none, that of the last call at all for a class of recbench, else `place`. Empty without a
    traceback.
    """
    package = place.partition(":")[0].partition(".")[0]
    calls = [found for line in traceback_lines if (found := CALL.match(line))]
    own = [call for call in calls if package in Path(call["file"]).with_suffix("").parts]
    if calls and not own and package not in OWN:
        return place
    for last in (own or calls)[-1:]:
        return f"{last['file']}:{last['line']} in {last['function']}"
    return ""


def _failure_class(error: BaseException, cause: BaseException) -> str:
    if isinstance(cause, MemoryError) or "OutOfMemory" in type(cause).__name__:
        return "oom"
    if isinstance(cause, RuntimeError) and ("out of memory" in str(cause) or "can't allocate" in str(cause)):
        return "oom"
    if isinstance(cause, (DataError, DigestError)):
        return "data"
    if type(cause).__name__ == "UncompletedJobError":  # raised by submitit in a job at its time limit
        return "timeout"
    return "method" if isinstance(error, MethodError) else "harness"
