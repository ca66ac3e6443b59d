"""What a short fit says of a long one: seconds of a unit of each stage, from the times of its progress."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

from recbench.stages import MAKING


@dataclass(frozen=True, slots=True)
class Moment:
    """A report of progress, and when it came, in seconds."""

    at: float
    stage: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Pace:
    """How a stage of work goes forward, e.g. the steps of a training."""

    stage: str
    total: int
    seconds: float
    """Of one unit."""

    @property
    def whole(self) -> float:
        return self.total * self.seconds


def paces(moments: Sequence[Moment], *, shared: Set[str] | None = None) -> list[Pace]:
    """The pace of each stage of work between its first and its last report.

    The time up to the first report is not counted: it warms up. Work with one report has no pace. Of the work
    inside shared stages only that of the kinds `shared` counts; None: of all.
    """
    found: list[Pace] = []
    run: list[Moment] = []
    making: list[str] = []
    for moment in moments:
        if moment.stage.startswith(MAKING):
            if moment.done < moment.total:
                making.append(moment.stage.removeprefix(MAKING))
            elif making:
                making.pop()
            continue
        if shared is not None and not shared >= set(making):
            continue
        if run and not _goes_on(run[-1], moment):
            found += _pace(run)
            run = []
        run.append(moment)
    return found + _pace(run)


def extrapolated(seconds: float, found: Sequence[Pace], factor: float) -> float:
    """Seconds of a fit whose paced stages are `factor` times as long, and everything else as it was."""
    paced = min(seconds, sum(pace.whole for pace in found))
    return seconds + (factor - 1) * paced


def remaining(moments: Sequence[Moment]) -> float:
    """Seconds that the stage of the last report will still take, by its pace; 0 for one without a pace."""
    last = moments[-1]
    units = [pace.seconds for pace in paces(moments) if (pace.stage, pace.total) == (last.stage, last.total)]
    return (last.total - last.done) * units[-1] if units else 0.0


def _goes_on(before: Moment, after: Moment) -> bool:
    return (before.stage, before.total) == (after.stage, after.total) and before.done <= after.done


def _pace(run: Sequence[Moment]) -> list[Pace]:
    if not run or run[-1].done == run[0].done:
        return []
    first, last = run[0], run[-1]
    return [Pace(first.stage, first.total, (last.at - first.at) / (last.done - first.done))]
