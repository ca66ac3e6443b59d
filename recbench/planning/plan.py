"""From selections to runs that can start: names resolved, data prepared, identities known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from recbench.base.digest import is_short
from recbench.base.files import parse_json
from recbench.base.layout import COMPLETE, SPEC, fit_folder
from recbench.base.progress import Listener, Silent
from recbench.base.root import Root
from recbench.dataset import card, prepare
from recbench.dataset.split import PreparedSplit
from recbench.errors import DigestError, MissingError, UsageError
from recbench.planning import registry, source
from recbench.planning.description import check_requirements, describe
from recbench.planning.recipes import unfed_tasks
from recbench.planning.resolve import Resolved, Selection, resolve
from recbench.protocol import get_protocol
from recbench.results.method_code import MethodCode
from recbench.results.spec import FitSpec, RunSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One run that can start: its identity, its row's name, its data."""

    spec: RunSpec
    resolved: Resolved
    split: PreparedSplit
    code: MethodCode
    parent: Planned | None = None
    """The run whose fit this one needs; None too where the user named a fit."""

    @property
    def label(self) -> str:
        return self.resolved.label

    @property
    def name(self) -> str:
        """For a line of talk: label, dataset and seed."""
        seed = "" if self.spec.fit.seed is None else f" seed {self.spec.fit.seed}"
        return f"{self.label} on {self.spec.fit.dataset}{seed}"

    @property
    def off_protocol(self) -> list[str]:
        """Why this run may not stand on a board; empty where it may."""
        reasons = []
        if self.spec.fit.limit_users is not None:
            reasons.append(f"limited to {self.spec.fit.limit_users} users")
        if self.spec.phase != "test":
            reasons.append("ranks the validation items")
        return reasons


def plan(
    selections: Sequence[Selection], root: Root, *, offline: bool = False, listener: Listener | None = None
) -> list[Planned]:
    """Resolve every selection, prepare the data and fetch the backbones that they need, and drop runs that
    are named twice.

    A run that needs a parent comes after its parent's run, which is added where it was not asked for: its
    fit is what the other starts from, and its result what the other is held against. Names and values are
    checked before any data is touched. UnusablePluginError where a method's modules are not installed.
    """
    known = resolver(root.path)
    resolved = with_parents([known(selection) for selection in selections], known)
    for run in resolved:
        check_requirements(run.plugin)
    cards = {run.selection.dataset: card.find(run.selection.dataset, root.path) for run in resolved}
    splits = _Splits(cards, root, offline or root.offline, Silent() if listener is None else listener)
    for run in resolved:
        if error := unfed_tasks(run.llm, splits.of(run.selection)):
            raise error
    if not (offline or root.offline):
        _fetch_backbones(resolved)
    planned: dict[str, Planned] = {}
    of_selection: dict[Selection, Planned] = {}
    for run in resolved:
        split = splits.of(run.selection)
        parent = None if run.parent is None else of_selection[run.parent]
        fit = None if parent is None else parent.spec.fit.id
        if parent is None and run.needs_parent:
            fit = _named_parent(run, split, root)
        spec = run.spec(split.digests, parent=fit)
        code = code_for(spec, None if parent is None else parent.code, root)
        this = Planned(spec=spec, resolved=run, split=split, code=code, parent=parent)
        of_selection[run.selection] = planned.setdefault(this.spec.id, this)
    return list(planned.values())


def resolver(root: Path) -> Callable[[Selection], Resolved]:
    """`resolve` for many selections: those that differ in their seed alone are worked out once."""
    known: dict[Selection, Resolved] = {}

    def of(selection: Selection) -> Resolved:
        first = replace(selection, seed=0)
        if first not in known:
            known[first] = resolve(first, root)
        run = known[first]
        return replace(run, selection=selection, seed=None if run.seed is None else selection.seed)

    return of


def with_parents(resolved: Sequence[Resolved], known: Callable[[Selection], Resolved]) -> list[Resolved]:
    """Each run after the runs of its parents; `known` resolves these."""
    ordered: dict[Selection, Resolved] = {}

    def add(run: Resolved) -> None:
        if run.parent is not None and run.parent not in ordered:
            add(known(run.parent))
        ordered.setdefault(run.selection, run)

    for run in resolved:
        add(run)
    return list(ordered.values())


def _fetch_backbones(resolved: Sequence[Resolved]) -> None:
    """Each once."""
    needing = [(run.llm_method, run.llm) for run in resolved if run.llm is not None]
    for plugin, llm in {(plugin.name, llm.backbone): (plugin, llm) for plugin, llm in needing}.values():
        plugin.fetch(llm)


def code_for(spec: RunSpec, parent: MethodCode | None, root: Root) -> MethodCode:
    """The method's code, with that of its parent: of the parent's run, or of the fit that the user names."""
    made = parent
    if parent is None and spec.fit.parent is not None:
        made = MethodCode.of_fit(root.cache, spec.fit.parent)
    engine = None if spec.fit.llm is None else spec.fit.llm.get("engine")
    return source.code_of(spec.fit.method, engine=engine, parent=None if made is None else made.digest)


def _named_parent(run: Resolved, split: PreparedSplit, root: Root) -> str:
    """The id of the fit that `--parent` names.

    MissingError where there is no such finished fit, DigestError where it learned from other data or speaks
    of items in another way.
    """
    wanted = run.selection.parent
    folder = fit_folder(root.cache, str(wanted))
    if not is_short(str(wanted)) or not (folder / COMPLETE).exists():
        raise MissingError(
            f"there is no finished fit '{wanted}'",
            why=f"looked for {folder}",
            fix="recbench list runs; or leave --parent out, and the block's sft is trained",
        )
    try:
        fit = FitSpec(**parse_json((folder / SPEC).read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        raise DigestError(
            f"the fit '{wanted}' is not one of this version of recbench",
            why=f"{folder / SPEC}: {error}",
            fix="leave --parent out, and the block's sft is trained",
        ) from None
    ours = run.spec(split.digests).fit
    for link in ("dataset", "split", "limit_users"):
        if getattr(fit, link) != getattr(ours, link):
            raise DigestError(f"the fit '{wanted}' has another {link}: {getattr(fit, link)}")
    if fit.llm is None:
        raise UsageError(f"the fit '{wanted}' is one of {fit.method}, which is no language model")
    for link in ("backbone_digest", "paradigm", "identifiers", "prompt"):
        if fit.llm.get(link) != (ours.llm or {}).get(link):
            raise DigestError(
                f"the fit '{wanted}' has another {link}",
                why=f"{fit.llm.get(link)}; here {(ours.llm or {}).get(link)}",
            )
    if fit.method in registry.available() and not describe(fit.method, root.path).traits.trains_vocabulary:
        raise UsageError(
            f"the fit '{wanted}' is one of {fit.method}, which {run.selection.method} cannot start from",
            why=f"{fit.method} trains some tokens alone, and references and lists read all of the vocabulary",
            fix="leave --parent out, and the block's sft is trained",
        )
    return str(wanted)


class _Splits:
    """Prepares each split once."""

    def __init__(
        self, cards: Mapping[str, card.DatasetCard], root: Root, offline: bool, listener: Listener
    ) -> None:
        self._cards, self._root, self._offline, self._listener = cards, root, offline, listener
        self._made: dict[tuple[str, str, int | None], PreparedSplit] = {}

    def of(self, selection: Selection) -> PreparedSplit:
        key = (selection.dataset, selection.protocol, selection.limit_users)
        if key not in self._made:
            self._made[key] = prepare.prepare(
                self._cards[selection.dataset],
                get_protocol(selection.protocol),
                cache=self._root.cache,
                data_dir=self._root.data_dir,
                offline=self._offline,
                limit_users=selection.limit_users,
                report=self._listener,
            )
        return self._made[key]
