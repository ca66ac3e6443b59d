"""From selections to runs that can start: names resolved, data prepared, identities known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from recbench import card, prepare
from recbench.method import Reporter, Silent
from recbench.protocol import get_protocol
from recbench.resolve import Resolved, Selection, resolve
from recbench.root import Root
from recbench.spec import RunSpec
from recbench.split import PreparedSplit


class Listener(Reporter, Protocol):
    """A reporter that also takes sentences."""

    def say(self, text: str) -> None: ...


class Quiet(Silent):
    """A listener that drops everything."""

    def say(self, text: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One run that can start: its identity, its row's name, its data."""

    spec: RunSpec
    resolved: Resolved
    split: PreparedSplit

    @property
    def label(self) -> str:
        return self.resolved.label

    @property
    def name(self) -> str:
        """For a line of talk: label, data set and seed."""
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
    """Resolve every selection, prepare the data that they need, and drop runs that are named twice.

    Names and values are checked before any data is touched.
    """
    listener = Quiet() if listener is None else listener
    resolved = [resolve(selection) for selection in selections]
    splits: dict[tuple[str, str, int | None], PreparedSplit] = {}
    planned: dict[str, Planned] = {}
    cards = {selection.dataset: card.find(selection.dataset, root.path) for selection in selections}
    for one in resolved:
        chosen = one.selection
        key = (chosen.dataset, chosen.protocol, chosen.limit_users)
        if key not in splits:
            splits[key] = prepare.prepare(
                cards[chosen.dataset],
                get_protocol(chosen.protocol),
                cache=root.cache,
                data_dir=root.data_dir,
                offline=offline or root.offline,
                limit_users=chosen.limit_users,
                report=listener,
            )
        spec = one.spec(splits[key].digests)
        planned.setdefault(spec.id, Planned(spec=spec, resolved=one, split=splits[key]))
    return list(planned.values())
