"""Which finished runs a submission adds to a board, and the study that asks for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from recbench.base.files import parse_toml
from recbench.base.params import parse_selection
from recbench.base.root import Root
from recbench.comparison.sides import labelled
from recbench.errors import MissingError, UsageError
from recbench.planning import study, study_runs
from recbench.planning.study import Study
from recbench.planning.tuning import spelled
from recbench.results.bundle import Bundle
from recbench.results.lookup import FIRST_RUN, every_run, find_run, is_run
from recbench.submission.study_methods import with_methods

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The runs that come to a board, and its study afterwards."""

    study: Study
    text: str
    """Of its file."""
    methods: tuple[str, ...]
    """That the study did not name before."""
    runs: tuple[Bundle, ...]
    """By id; with those of the fits that they started from."""
    again: tuple[Bundle, ...]
    """Runs that are on the board already, as they came out here."""


def choose(words: Sequence[str], file: Path, kept: Sequence[Bundle], root: Root, say: Say) -> Choice:
    """The runs that `words` name, by id or by label (all seeds of it that the study asks for); without words
    all that belong to the study in `file`. `kept` is on the board already.

    What is left out is told to `say`. UsageError for a word without a run that the study can ask for, and
    where every run is on the board.
    """
    finished = [run for run in every_run(root.runs, say) if run.status == "complete"]
    if not finished:
        raise MissingError(f"there are no finished runs under {root.runs}", fix=FIRST_RUN)
    declared, before = study.read(file), file.read_text(encoding="utf-8")
    named = {word: _named(word, finished, root) for word in words}
    methods = _unasked(named, study_runs.members(declared, finished, root.path))
    text = with_methods(before, methods)
    extended = study.parse(parse_toml(text.encode(), file), name=declared.name)
    members = study_runs.members(extended, finished, root.path)
    chosen = _members(named, members, extended, say) if words else {run.id for run in members}
    parents = {run.spec.fit.parent for run in members if run.id in chosen}
    wanted = [run for run in members if run.id in chosen or run.spec.fit.id in parents]
    there = {run.id for run in kept}
    new = tuple(run for run in wanted if run.id not in there)
    if not new:
        raise UsageError(
            f"there is nothing to add to the board {declared.name}",
            why="every run is on it already" if wanted else "no finished run belongs to its study",
            fix=f"recbench list runs; recbench leaderboard submit {declared.name} METHOD",
        )
    again = tuple(run for run in wanted if run.id in there)
    return Choice(study=extended, text=text, methods=methods, runs=new, again=again)


def _named(word: str, finished: Sequence[Bundle], root: Root) -> list[Bundle]:
    if not is_run(root.runs, word):
        return labelled(word, finished)
    run = find_run(root.runs, word)
    if run.status != "complete":
        raise UsageError(f"run {run.id} ({run.label}) failed", fix=f"recbench logs {run.id}")
    return [run]


def _unasked(named: Mapping[str, Sequence[Bundle]], members: Sequence[Bundle]) -> tuple[str, ...]:
    """The methods, as a study names them, of which it asks for no run."""
    asked = {run.label for run in members}
    labels = dict.fromkeys(run.label for runs in named.values() for run in runs)
    return tuple(spelled(*parse_selection(label)) for label in labels if label not in asked)


def _members(
    named: Mapping[str, Sequence[Bundle]], members: Sequence[Bundle], asking: Study, say: Say
) -> set[str]:
    """The ids of the named runs that the study asks for."""
    ids, chosen = {run.id for run in members}, set()
    for word, runs in named.items():
        inside = {run.id for run in runs} & ids
        others = [f"{run.id} ({_axes(run)})" for run in runs if run.id not in ids]
        if not inside:
            raise UsageError(
                f"the study {asking.name} asks for no run of '{word}'",
                why=f"{'; '.join(others)}; it asks for {', '.join(asking.datasets)}, protocol "
                f"{asking.protocol}, all users, seeds {', '.join(map(str, asking.seeds))}",
                fix=f"run it with these, or write a study of your own: leaderboards/NAME/{study.FILE}",
            )
        for other in others:
            say(f"left out: run {other}, for which the study does not ask")
        chosen |= inside
    return chosen


def _axes(run: Bundle) -> str:
    fit = run.spec.fit
    parts = [fit.dataset, f"protocol {run.spec.protocol['name']}", f"seed {fit.seed}"]
    parts += [f"{fit.limit_users} users"] if fit.limit_users else []
    parts += [f"phase {run.spec.phase}"] if run.spec.phase != "test" else []
    return ", ".join(parts)
