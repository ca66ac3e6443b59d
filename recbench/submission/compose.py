"""A board with the runs that come to it, checked and verified, as the top of a checkout."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recbench.base import files
from recbench.base.root import Root
from recbench.board import build, overview
from recbench.board import folder as boards
from recbench.board.exposure.of_runs import exposures
from recbench.board.model import Board
from recbench.dataset import card
from recbench.errors import CheckError, MissingError, UsageError
from recbench.planning import study, study_runs
from recbench.results.bundle import Bundle
from recbench.submission.choice import Choice, Say, choose
from recbench.verification import board as verification
from recbench.verification.splits import Splits
from recbench.verification.verdict import Verdict

LEADERBOARDS, DATASETS = "leaderboards", "datasets"


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What comes to a board, and what was found of it."""

    name: str
    board: Board
    choice: Choice
    other_ranks: Mapping[str, int]
    """Of each run that was on the board and was made here too, the requests whose target has another rank."""
    verdicts: tuple[Verdict, ...]
    """Of all runs of the board."""
    cards: tuple[str, ...]
    """The data sets of which the root has a card of its own."""

    @property
    def ids(self) -> frozenset[str]:
        """Of the runs that come."""
        return frozenset(run.id for run in self.choice.runs)


def compose(
    name: str, words: Sequence[str], root: Root, *, checkout: Path | None, users: int, say: Say, folder: Path
) -> Submission:
    """Fill `folder` as the top of a checkout: `leaderboards/NAME/`, and cards of the root's own data sets.

    The board is that of `checkout`, by default of the root, with the runs of `choose`; its records are
    checked, and verified with `users` of each run. CheckError where they are not sound, UsageError where the
    board would leave out every run that comes.
    """
    home = _home(name, root, checkout)
    kept = {run.id: run for run in boards.read(home)}
    choice = choose(words, home / study.FILE, list(kept.values()), root, say)
    runs = [*kept.values(), *choice.runs]
    cards = _copy_cards(runs, root, folder)
    place = folder / LEADERBOARDS / name
    place.mkdir(parents=True)
    (place / study.FILE).write_text(choice.text, encoding="utf-8")
    boards.write(place, _board(choice, runs, root, home), runs)
    with files.scratch() as scratch:
        verdicts = verification.verify(place, root, Splits(root, Path(scratch)), users=users)
    found = Submission(
        name=name,
        board=boards.check(place),
        choice=choice,
        other_ranks={run.id: _other_ranks(kept[run.id], run) for run in choice.again},
        verdicts=tuple(verdicts),
        cards=cards,
    )
    _refuse(found)
    return found


def put(made: Path, name: str, checkout: Path) -> Path:
    """Replace the board called `name` in a checkout by the one in the folder `made`; return its folder."""
    place = checkout / LEADERBOARDS / name
    place.mkdir(parents=True, exist_ok=True)
    boards.settle(place)
    with files.new_folder(place / boards.BUILT) as staged:
        shutil.copytree(made / LEADERBOARDS / name, staged, dirs_exist_ok=True)
    boards.settle(place)
    (checkout / DATASETS).mkdir(exist_ok=True)
    for own in (made / DATASETS).glob("*.toml"):
        files.write_text(checkout / DATASETS / own.name, own.read_text(encoding="utf-8"))
    return place


def _home(name: str, root: Root, checkout: Path | None) -> Path:
    """The folder of the board to add to, or of the study that has none yet."""
    if name == overview.LOCAL:
        raise UsageError(f"the board {name} is that of one machine", fix="name the board of a study")
    if checkout is not None and not (checkout / LEADERBOARDS).is_dir():
        raise MissingError(
            f"{checkout} is no checkout of recbench",
            why=f"it has no folder {LEADERBOARDS}",
            fix="git clone your fork, and name its folder",
        )
    places = [place / LEADERBOARDS / name for place in (checkout, root.path) if place is not None]
    home = next((place for place in places if (place / study.FILE).is_file()), None)
    if home is None:
        raise MissingError(
            f"there is no study '{name}'",
            why=f"looked for {' and '.join(str(place / study.FILE) for place in places)}",
            fix="--checkout FOLDER, for a board of the repository; for one of your own see docs/studies.md",
        )
    return home


def _board(choice: Choice, runs: Sequence[Bundle], root: Root, home: Path) -> Board:
    asking = choice.study
    return build.build(
        runs,
        metric=asking.metric,
        reference=asking.reference,
        pairs="declared" if asking.reference else "all",
        missing=study_runs.missing(asking, runs, root.path),
        command=f"recbench leaderboard build {asking.name}",
        exposure=exposures(runs, asking.metric, boards.there(home), cache=root.cache),
    )


def _copy_cards(runs: Sequence[Bundle], root: Root, folder: Path) -> tuple[str, ...]:
    """Cards that recbench does not have, or has otherwise."""
    built_in, found = card.available(None), []
    for name in sorted({run.spec.fit.dataset for run in runs}):
        path = root.path / DATASETS / f"{name}.toml"
        if path.is_file() and (name not in built_in or built_in[name].read_bytes() != path.read_bytes()):
            (folder / DATASETS).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / DATASETS / path.name)
            found.append(name)
    return tuple(found)


def _other_ranks(kept: Bundle, here: Bundle) -> int:
    if len(kept.ranks) != len(here.ranks):
        return max(len(kept.ranks), len(here.ranks))
    return int(np.count_nonzero(kept.ranks != here.ranks))


def _refuse(found: Submission) -> None:
    wrong = [verdict for verdict in found.verdicts if not verdict.is_sound]
    if wrong:
        raise CheckError(
            f"{len(wrong)} of {len(found.verdicts)} runs are not what they record",
            why="; ".join(f"{verdict.run} {verdict.label}: {verdict.wrong[0]}" for verdict in wrong),
            fix="repeat them: recbench run with the same selection and --force",
        )
    left_out = {run.id: run.why for run in found.board.excluded}
    if found.ids <= left_out.keys():
        first = found.choice.runs[0]
        raise UsageError(
            f"none of the {len(found.ids)} runs can stand on the board {found.name}",
            why=f"{first.label} ({first.id}): {left_out[first.id]}",
            fix="recbench plan, with the study",
        )
