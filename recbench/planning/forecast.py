"""The state and the cost of runs, without preparing, fetching or training anything: `recbench plan`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from recbench.base import locks
from recbench.base.extensions import points
from recbench.base.layout import COMPLETE, fit_folder, run_lock
from recbench.base.root import Root
from recbench.dataset import card, prepare
from recbench.dataset.split import PreparedSplit
from recbench.errors import MissingError, RecbenchError
from recbench.planning.cost_estimate import Estimate, estimate, measured
from recbench.planning.description import check_requirements
from recbench.planning.plan import code_for, resolver, with_parents
from recbench.planning.recipes import unfed_tasks
from recbench.planning.resolve import Resolved, Selection
from recbench.planning.reuse import AGAIN, OTHER_CODE, is_of_other_code
from recbench.protocol import get_protocol
from recbench.results import bundle
from recbench.results.method_code import MethodCode
from recbench.results.spec import RunSpec

State = Literal["done", "other code", "cached", "running", "failed", "to run", "blocked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """One run that was asked for, or that another one needs."""

    name: str
    resolved: Resolved | None
    """None where the method cannot be used."""
    state: State
    spec: RunSpec | None = None
    """None where the data or the backbone are not here, on which identity depends."""
    code: MethodCode | None = None
    """None where the identity is not known."""
    why: str = ""
    fix: str = ""
    parent: str | None = None
    """Name of the run that comes first."""
    needed_by: int = 0
    """How many runs start from this one's fit."""
    expected: Estimate | None = None

    @property
    def is_open(self) -> bool:
        return self.state in ("cached", "failed", "to run")


def forecast(selections: Sequence[Selection], root: Root, *, offline: bool = False) -> list[Prospect]:
    """Every run once, those that others start from first. `cached`: fitted, not ranked yet.

    A run is blocked where its method cannot be used, and where its data or backbone are neither here nor may
    be fetched.
    """
    outlook = _Outlook(root, offline=offline or root.offline)
    known = resolver(root.path)
    made: dict[Selection, Prospect] = {}
    resolved = []
    for selection in selections:
        try:
            resolved.append(known(selection))
        except points.UnusablePluginError as error:
            made[selection] = _unusable(selection, error)
    for run in with_parents(resolved, known):
        parent = None if run.parent is None else made[run.parent]
        made[run.selection] = outlook.of(run, parent)
    unique = {_identity(run): run for run in made.values()}
    needed = Counter(run.parent for run in unique.values() if run.parent is not None)
    counted = [replace(run, needed_by=needed[run.name]) for run in unique.values()]
    return sorted(counted, key=lambda run: run.needed_by == 0)


class _Outlook:
    """Looks at each split and each backbone once."""

    def __init__(self, root: Root, *, offline: bool) -> None:
        self._root, self._offline = root, offline
        self._known = measured(root.runs)
        self._splits: dict[tuple[str, str, int | None], PreparedSplit | str | RecbenchError] = {}
        self._backbones: dict[str, str | RecbenchError] = {}

    def of(self, run: Resolved, parent: Prospect | None) -> Prospect:
        common: dict[str, Any] = {
            "name": run.name,
            "resolved": run,
            "parent": None if parent is None else parent.name,
        }
        if parent is not None and parent.state == "blocked":
            return Prospect(**common, state="blocked", why=f"its parent is: {parent.why}", fix=parent.fix)
        try:
            check_requirements(run.plugin)
        except points.UnusablePluginError as error:
            return Prospect(**common, state="blocked", why=_sentence(error), fix=error.fix)
        split, backbone = self._split(run.selection), self._backbone(run)
        unfed = unfed_tasks(run.llm, split) if isinstance(split, PreparedSplit) else None
        for found in (split, backbone, unfed):
            if isinstance(found, RecbenchError):
                return Prospect(**common, state="blocked", why=found.what, fix=found.fix)
        first = [found for found in (split, backbone) if isinstance(found, str) and found]
        if isinstance(split, PreparedSplit) and not backbone:
            fit = run.selection.parent
            if parent is not None and parent.spec is not None:
                fit = parent.spec.fit.id
            if parent is None or fit is not None:
                return self._known_run(run, split, parent, fit, common)
            first = ["its parent is first"]
        return Prospect(**common, state="to run", why="; ".join(first))

    def _known_run(
        self,
        run: Resolved,
        split: PreparedSplit,
        parent: Prospect | None,
        fit: str | None,
        common: Mapping[str, Any],
    ) -> Prospect:
        spec = run.spec(split.digests, parent=fit)
        code = code_for(spec, None if parent is None else parent.code, self._root)
        state, why, fix = _state(spec, code, self._root), "", ""
        if is_of_other_code(spec.id, code, self._root):
            state, why, fix = OTHER_CODE, f"here is {code}", AGAIN
        expected = estimate(spec, self._known)
        return Prospect(**common, spec=spec, code=code, state=state, why=why, fix=fix, expected=expected)

    def _split(self, selection: Selection) -> PreparedSplit | str | RecbenchError:
        """The split, or what is done first, or why there is none."""
        key = (selection.dataset, selection.protocol, selection.limit_users)
        if key not in self._splits:
            self._splits[key] = self._look(selection)
        return self._splits[key]

    def _look(self, selection: Selection) -> PreparedSplit | str | RecbenchError:
        try:
            found = card.find(selection.dataset, self._root.path)
            split = prepare.find(
                found,
                get_protocol(selection.protocol),
                cache=self._root.cache,
                data_dir=self._root.data_dir,
                limit_users=selection.limit_users,
            )
            return split or f"{selection.dataset} is prepared"
        except MissingError as error:
            web = any(all(file.url for file in source.files.values()) for source in found.sources)
            return f"{selection.dataset} is downloaded and prepared" if web and not self._offline else error
        except RecbenchError as error:
            return error

    def _backbone(self, run: Resolved) -> str | RecbenchError:
        """Empty where the backbone is here or none is needed, else what is done first or why it cannot be."""
        if run.llm is None:
            return ""
        name = run.llm.backbone
        if name not in self._backbones:
            try:
                run.llm_method.identity(run.llm)
                self._backbones[name] = ""
            except points.UnusablePluginError as error:  # no download fixes it
                return error
            except MissingError as error:
                self._backbones[name] = error if self._offline else f"{name} is downloaded"
            except RecbenchError as error:
                self._backbones[name] = error
        return self._backbones[name]


def _state(spec: RunSpec, code: MethodCode, root: Root) -> State:
    status = bundle.status(root.runs / spec.id)
    if status == "complete":
        return "done"
    if locks.owner(run_lock(root, spec.id)) is not None:
        return "running"
    if status == "failed":
        return "failed"
    made = MethodCode.of_fit(root.cache, spec.fit.id)
    usable = made is None or made.is_that_of(code)  # else it is made again
    return "cached" if usable and (fit_folder(root.cache, spec.fit.id) / COMPLETE).exists() else "to run"


def _unusable(selection: Selection, error: RecbenchError) -> Prospect:
    name = f"{selection.method} on {selection.dataset} seed {selection.seed}"
    return Prospect(name=name, resolved=None, state="blocked", why=_sentence(error), fix=error.fix)


def _sentence(error: RecbenchError) -> str:
    return f"{error.what}: {error.why}"


def _identity(run: Prospect) -> str:
    return run.name if run.spec is None else run.spec.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """The cost of the runs to come, as far as it is known."""

    runs: int
    seconds: float
    gpu_hours: float
    unknown: int
    """Open runs of a kind that was never measured."""
    cache_bytes: int
    """The mean size of the finished fits on disk, times the number of fits to come."""


def totals(runs: Sequence[Prospect], gpus: Mapping[str, int], root: Root) -> Totals:
    """`gpus` is the number of GPUs of a run, by its name."""
    still = [run for run in runs if run.is_open]
    known = [(run, run.expected) for run in still if run.expected is not None]
    seconds = sum(expected.seconds for _, expected in known)
    held = sum(expected.seconds * gpus.get(run.name, 1) for run, expected in known)
    sizes = [_size(path) for path in (root.cache / "fits").glob("*") if (path / COMPLETE).exists()]
    each = sum(sizes) // len(sizes) if sizes else 0
    return Totals(
        runs=len(still),
        seconds=seconds,
        gpu_hours=held / 3600,
        unknown=len(still) - len(known),
        cache_bytes=each * len({_identity(run) for run in still}),
    )


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
