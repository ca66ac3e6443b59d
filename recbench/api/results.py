"""Finished runs as objects: their metrics, users and lists, as tables of pandas."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from recbench.base.words import plural
from recbench.errors import CheckError, MissingError
from recbench.protocol import PRIMARY_METRIC

if TYPE_CHECKING:
    import pandas as pd

    from recbench.base.root import Root
    from recbench.results.bundle import Bundle

HEADLINE = ("hr", "ndcg", "mrr")


@dataclass(frozen=True, eq=False)
class Run:
    """A run: what it was asked for, how it ended, and all that follows from its ranks and lists."""

    bundle: Bundle
    root: Root

    @property
    def id(self) -> str:
        return self.bundle.id

    @property
    def method(self) -> str:
        """The row of a board: the method with the parameters that are not its defaults."""
        return self.bundle.label

    @property
    def dataset(self) -> str:
        return self.bundle.spec.fit.dataset

    @property
    def seed(self) -> int | None:
        """None where one fit serves all seeds."""
        return self.bundle.seed

    @property
    def status(self) -> str:
        """`complete` or `failed`."""
        return self.bundle.status

    @property
    def reason(self) -> Mapping[str, Any] | None:
        """Why a failed run failed: `class`, `message`, `traceback`, ..."""
        return self.bundle.reason

    @property
    def folder(self) -> Path:
        return self.bundle.path

    @property
    def metrics(self) -> Mapping[str, float]:
        """Means over requests, by name; empty for a failed run."""
        return self.bundle.metrics

    def interval(self, metric: str = PRIMARY_METRIC) -> dict[str, float]:
        """`mean`, `low` and `high` of the 95 % bootstrap interval over users.

        UsageError for an unknown metric or one beyond the depth of the rankings, CheckError for a failed run.
        """
        from recbench.comparison.rescore import interval_of

        return interval_of(self._complete(), metric)

    def measure(self, metric: str, cutoffs: Sequence[int] = (10,)) -> pd.DataFrame:
        """A metric of another package, `NAME:key=value`: a row for each cut-off, with the `mean`, the bounds
        `low` and `high` of its 95 % interval over users (NaN where one number is of all lists), and `whose`
        it is. The numbers are recorded beside the run, so that boards show them.

        UsageError for an unknown metric, one of recbench's own, and a cut-off beyond the depth of the
        rankings; UnusablePluginError for a metric that fails or gives no number; CheckError for a failed run.
        """
        from recbench.api.measuring import measure_and_record
        from recbench.api.surroundings import frame

        found = measure_and_record(self._complete(), metric, cutoffs, self.root.path)
        same = {"metric": found["label"], "whose": found["whose"]}
        rows = [{**same, "cutoff": int(k), **value} for k, value in found["values"].items()]
        order = ["metric", "cutoff", "mean", "low", "high", "whose"]
        return frame(rows)[order].astype(dict.fromkeys(("mean", "low", "high"), float))

    def to_frame(self, metrics: Sequence[str] | None = None) -> pd.DataFrame:
        """A row for each request: `user`, the number of the user's `request` where users ask repeatedly, the
        target's 1-based `rank` (0 where it is not in the list), and its metrics, by default HR, NDCG and MRR
        at the protocol's cutoffs."""
        from recbench.api.surroundings import frame
        from recbench.results.request_features import request_numbers

        run = self._complete()
        if metrics is None:
            metrics = [f"{name}@{k}" for k in run.spec.protocol["cutoffs"] for name in HEADLINE]
        values = {name: run.per_request(name) for name in metrics}
        asked = {"request": request_numbers(run.users)} if run.repeated else {}
        return frame({"user": run.users, **asked, "rank": run.ranks, **values})

    def lists(self, places: int = 10) -> pd.DataFrame:
        """The recommended items, a row for each request and place: `user`, the number of the user's `request`
        where users ask repeatedly, `place`, `item` (the source's id), `title`, `score` where the ranker gave
        one, and whether it `is_target`.

        MissingError where the split that the run ranked is not in the cache.
        """
        import numpy as np

        from recbench.api.surroundings import frame
        from recbench.dataset.split import find_split, load_catalogue
        from recbench.results.request_features import request_numbers

        run = self._complete()
        split = find_split(self.root.cache, run.spec.fit.split)
        if split is None:
            raise MissingError(
                f"the catalogue of run {run.id} is not here",
                why=f"no split under {self.root.cache} has its digest",
                fix=f"recbench data prepare {self.dataset} --protocol {run.spec.protocol['name']}",
            )
        catalogue = load_catalogue(split.folder)
        topk = run.topk()
        items = topk["items"][:, :places]
        request, place = np.nonzero(items >= 0)
        chosen = items[request, place]
        columns: dict[str, Any] = {
            "user": run.users[request],
            **({"request": request_numbers(run.users)[request]} if run.repeated else {}),
            "place": place + 1,
            "item": np.array(catalogue.item_ids)[chosen],
            "title": np.array(catalogue.titles)[chosen],
        }
        if "scores" in topk:
            columns["score"] = topk["scores"][request, place]
        return frame({**columns, "is_target": run.ranks[request] == place + 1})

    def curve(self) -> pd.DataFrame:
        """The records of the training curve; empty where nothing was trained."""
        from recbench.api.surroundings import frame

        return frame(self.bundle.curve())

    def _complete(self) -> Bundle:
        if self.status != "complete":
            reason = self.reason or {}
            raise CheckError(
                f"run {self.id} ({self.method}) failed and has no results",
                why=str(reason.get("what") or reason.get("message") or ""),
                fix=f"recbench logs {self.id}",
            )
        return self.bundle

    def __repr__(self) -> str:
        seed = "" if self.seed is None else f", seed {self.seed}"
        scores = ", ".join(
            f"{name} {self.metrics[name]:.4f}" for name in ("hr@10", "ndcg@10") if name in self.metrics
        )
        return f"<Run {self.id}: {self.method} on {self.dataset}{seed}, {scores or self.status}>"


class Runs(Sequence[Run]):
    """Several runs, in the order in which they were asked for."""

    def __init__(self, runs: Iterable[Run]) -> None:
        self._runs = tuple(runs)

    @overload
    def __getitem__(self, index: int) -> Run: ...
    @overload
    def __getitem__(self, index: slice) -> Runs: ...
    def __getitem__(self, index: int | slice) -> Run | Runs:
        return Runs(self._runs[index]) if isinstance(index, slice) else self._runs[index]

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[Run]:
        return iter(self._runs)

    @property
    def failed(self) -> Runs:
        return Runs(run for run in self if run.status == "failed")

    def to_frame(self, metrics: Sequence[str] = ("hr@10", "ndcg@10")) -> pd.DataFrame:
        """A row for each run, with the means and 95 % intervals of the metrics; a failed run has none."""
        from recbench.api.surroundings import frame

        return frame([{**_facts(run), **_scores(run, metrics)} for run in self])

    def per_user(self, metrics: Sequence[str] | None = None) -> pd.DataFrame:
        """The requests of all finished runs below each other, with the columns `run`, `method`, `dataset`
        and `seed` before those of `Run.to_frame`."""
        from recbench.api.surroundings import frame

        parts = []
        for run in self:
            if run.status == "complete":
                part = run.to_frame(metrics)
                for position, name in enumerate(("id", "method", "dataset", "seed")):
                    part.insert(position, "run" if name == "id" else name, getattr(run, name))
                parts.append(part)
        if not parts:
            return frame([])
        import pandas as pd

        return pd.concat(parts, ignore_index=True)

    def __repr__(self) -> str:
        return "\n".join([plural(len(self), "run"), *(f"  {run!r}" for run in self)])


def load(*names: str, root: str | Path | None = None) -> Runs:
    """Runs of the root: by their ids, or the beginnings of ids, or all of a method by its row's name; all
    runs where nothing is named.

    UsageError for a name that is neither, with the nearest one. A run that has changed since it was sealed is
    named on stderr and left out of what is not asked for by its id.
    """
    from recbench.api.surroundings import left_out, root_of
    from recbench.comparison.sides import labelled
    from recbench.results.lookup import every_run, find_run, is_run

    place = root_of(root)
    ids = {name for name in names if is_run(place.runs, name)}
    every = [] if names and ids == set(names) else every_run(place.runs, left_out)
    if not names:
        return Runs(Run(bundle, place) for bundle in sorted(every, key=_order))
    found: dict[str, Bundle] = {}
    for name in names:
        runs = [find_run(place.runs, name)] if name in ids else labelled(name, every)
        found |= {run.id: run for run in sorted(runs, key=_order)}
    return Runs(Run(bundle, place) for bundle in found.values())


def _order(run: Bundle) -> tuple[object, ...]:
    return run.spec.fit.dataset, run.label, -1 if run.seed is None else run.seed, run.id


def _facts(run: Run) -> dict[str, object]:
    return {
        "run": run.id,
        "method": run.method,
        "dataset": run.dataset,
        "protocol": run.bundle.spec.protocol["name"],
        "seed": run.seed,
        "status": run.status,
    }


def _scores(run: Run, metrics: Sequence[str]) -> dict[str, float]:
    if run.status != "complete":
        return {}
    found: dict[str, float] = {}
    for metric in metrics:
        known = run.interval(metric)
        found |= {metric: known["mean"], f"{metric} low": known["low"], f"{metric} high": known["high"]}
    seconds = run.bundle.efficiency.get("seconds", {}).get("total")
    return found if seconds is None else {**found, "seconds": seconds}
