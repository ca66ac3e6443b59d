"""`recbench.leaderboard`: the board of all finished runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from recbench.api.surroundings import Tabular
from recbench.errors import MissingError, UsageError
from recbench.protocol import PRIMARY_METRIC

if TYPE_CHECKING:
    import pandas as pd

    from recbench.base.root import Root
    from recbench.board.model import Board
    from recbench.results.bundle import Bundle

LOCAL = "local"
"""The board without a study."""


@dataclass(frozen=True, repr=False)
class Leaderboard(Tabular):
    """A board: rows of methods, ranked on each dataset, with their differences from the references."""

    board: Board
    folder: Path
    """Where `recbench leaderboard build` writes it."""

    def to_frame(self) -> pd.DataFrame:
        """A row for each table and method, best first: means over seeds, group letters, and the difference
        from each reference with its 95 % interval and its p, adjusted by Holm."""
        from recbench.api.surroundings import frame

        rows = []
        for table in self.board.tables:
            placings = table.view(self.board.metric).rows if self.board.metric in table.switchable else None
            for number, row in enumerate(table.rows):
                record: dict[str, object] = {
                    "dataset": table.dataset,
                    "protocol": table.protocol["name"],
                    "method": table.title_of(row),
                    "seeds": len(row.seeds),
                    **{name: score.mean for name, score in row.metrics.items()},
                    "group": None if placings is None else placings[number].letters,
                }
                for name, other in row.vs.items():
                    record |= {
                        f"vs {name}": other.difference,
                        f"vs {name} low": other.low,
                        f"vs {name} high": other.high,
                        f"vs {name} p": other.p_holm,
                    }
                rows.append(record | {name: row.costs[name] for name in ("seconds", "trained_tokens")})
        return frame(rows)

    def __repr__(self) -> str:
        tables = ", ".join(f"{len(table.rows)} rows on {table.dataset}" for table in self.board.tables)
        return f"<Leaderboard {self.folder.name} by {self.board.metric}: {tables or 'no rows'}>"


def leaderboard(
    name: str = LOCAL,
    *,
    metric: str | None = None,
    reference: str | None = None,
    write: bool = False,
    root: str | Path | None = None,
) -> Leaderboard:
    """The board of all finished runs, or of the study in `leaderboards/NAME/`, by its metric and pairs where
    no others are given; without a study by ndcg@10.

    With `write` the folder gets every form of the board and its records, as by `recbench leaderboard build`.
    MissingError where nothing has run, or nothing that may stand on a board.
    """
    from recbench.api.surroundings import left_out, root_of
    from recbench.board import folder as forms
    from recbench.results.lookup import every_run

    place = root_of(root)
    made, counted = build(
        place,
        name,
        lambda: every_run(place.runs, left_out),
        source="bundles",
        metric=metric,
        reference=reference,
        measure=write,
    )
    found = Leaderboard(made, folder_of(place, name))
    if write:
        forms.write(found.folder, made, counted)
    return found


def build(
    root: Root,
    name: str,
    runs: Callable[[], Sequence[Bundle]],
    *,
    source: str,
    metric: str | None,
    reference: str | None,
    measure: bool = True,
) -> tuple[Board, Sequence[Bundle]]:
    """The board called `name` of the `runs` that come from `source`, and the runs that it is made of.

    With `measure` what the lists expose users to is computed for the runs of which the board that is there
    does not say it; this takes about as long as the rest.
    """
    from recbench.board import build as boards
    from recbench.board import folder as records
    from recbench.board.exposure.of_runs import exposures
    from recbench.planning import study_runs
    from recbench.results.lookup import FIRST_RUN

    folder = folder_of(root, name)
    study = records.study_of(folder)
    usual = PRIMARY_METRIC if study is None else study.metric
    options = {"--metric": metric if metric != usual else None, "--reference": reference}
    words = [name] if name != LOCAL else []
    words += [word for option, value in options.items() if value for word in (option, value)]
    metric = metric or usual
    if study is not None:
        reference = reference or study.reference
    bundles = runs()
    if not bundles:
        place = root.path if source == "bundles" else f"{source} of {root.path}"
        fix = FIRST_RUN if study is None else f"recbench run --study {folder.name}"
        raise MissingError(f"there are no runs in {place}", fix=fix)
    if study is not None:
        bundles = study_runs.members(study, bundles, root.path)
    board = boards.build(
        bundles,
        metric=metric,
        reference=reference,
        pairs="declared" if study is None or study.reference else "all",
        missing=records.missing(folder, bundles),
        command=" ".join(["recbench leaderboard build", *words]),
        exposure=exposures(bundles, metric, records.there(folder), cache=root.cache if measure else None),
    )
    if not board.tables:
        first = next(iter(board.excluded), None)
        why = f"{first.label} ({first.id}): {first.why}" if first else "none of the study's has finished"
        raise MissingError(
            "no run can stand on this board", why=why, fix="recbench plan, with the same study or methods"
        )
    return board, bundles


def folder_of(root: Root, name: str) -> Path:
    import re

    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name, re.ASCII):
        raise UsageError(f"'{name}' is no name of a board", why="letters, digits, '.', '-', '_'")
    return root.path / "leaderboards" / name
