"""Where rejected items come from: a sampler for each name of `negatives=`, apart from the loss.

A sampler returns items [E, K] for E examples, -1 where it finds too few: distinct, and none of them the
target or in the history, unless it is `self-play`. `make_pairs` drops what has the target's identifier. Draws
depend on the run's seed, the epoch and the example alone. Other packages bring further samplers.

No module of a learning library is imported before a sampler draws, so that names are checked quickly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import numpy as np

from recbench.base import params
from recbench.base.extensions import extension, points
from recbench.data import Ints, TrainingData
from recbench.errors import RecbenchError, UsageError, unknown_name
from recbench.method import LLMRun
from recbench.ranges import Count, NotNegative
from recbench.stages import StageCache

if TYPE_CHECKING:
    from recbench.llm.model.policy import Policy
    from recbench.llm.signals.lists import Lists
    from recbench.llm.training.examples import NextItem


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Draw:
    """What is asked of a sampler: `count` rejected items for each example, in an epoch counted from 0."""

    policy: Policy
    """The policy before this training: the parent, or the policy at the start of a round."""
    examples: NextItem
    """What is trained on: of each example the user, the history and the target."""
    data: TrainingData
    run: LLMRun
    count: int
    """K: how many rejected items an example is to have."""
    weights: str = ""
    """The name of the policy's weights, for lists that are kept."""
    stages: StageCache | None = None
    """Where such lists are kept; None: in the run's shared stages."""
    epoch: int = 0
    """Above 0 for samplers with `resample` alone."""

    def lists(self, depth: int, *, wrong: bool = True) -> Lists:
        """The policy's own best items; see `exact_lists`."""
        from recbench.llm.signals.lists import exact_lists

        return exact_lists(
            self.policy,
            self.examples,
            self.run,
            depth=depth,
            weights=self.weights,
            stages=self.stages,
            wrong=wrong,
        )

    @property
    def key(self) -> int:
        """The seed of the epoch's draws; an example's number makes it the example's."""
        return self.run.child_seed("negatives" if self.epoch == 0 else f"negatives-{self.epoch}")


class Sampler(Protocol):
    """A dataclass of the sampler's parameters, given as `negatives=NAME:key=value`.

    A class that derives from this writes `draw`, and what differs from the values here.
    """

    version: ClassVar[int] = 1
    """Raised whenever a draw can change."""
    asks_policy: ClassVar[bool] = False
    """Whether it ranks with the policy, which must have been trained before."""

    @property
    def resample(self) -> bool:
        """Whether every epoch draws anew."""
        return False

    @property
    def rounds(self) -> int:
        """Rounds of training, each of which draws with the policy as it then is."""
        return 1

    @property
    def pool(self) -> int | None:
        """How many items an example's are drawn from; None: no fixed number."""
        return None

    def draw(self, ask: Draw) -> Ints:
        """[E, K] the rejected items of each example, -1 where there are too few: distinct, neither the target
        nor in the history."""
        ...


@dataclass(frozen=True, kw_only=True)
class Uniform(Sampler):
    """Any item of the catalogue with equal chance."""

    resample: bool = False
    """Whether every epoch draws anew."""

    def draw(self, ask: Draw) -> Ints:
        from recbench.llm.signals.negatives import uniform

        return uniform(ask.examples, ask.policy.trie.leaf, ask.count, key=ask.key)


@dataclass(frozen=True, kw_only=True)
class Popularity(Sampler):
    """With probability proportional to the training count to a power; items without an interaction never."""

    power: NotNegative = 0.75
    """Of the training count; at 0 all items are alike, those without an interaction too."""
    resample: bool = False
    """Whether every epoch draws anew."""

    def draw(self, ask: Draw) -> Ints:
        from recbench.llm.signals.negatives import popular

        leaf, popularity = ask.policy.trie.leaf, ask.data.catalogue.popularity
        return popular(ask.examples, leaf, popularity, ask.count, key=ask.key, power=self.power)


@dataclass(frozen=True, kw_only=True)
class InBatch(Sampler):
    """Targets of other examples of the same block of the epoch's order, anew in every epoch; not corrected
    for the popularity that they have by this."""

    block: Count = 128
    """Examples that lend each other their targets."""
    resample: ClassVar[bool] = True

    def draw(self, ask: Draw) -> Ints:
        from recbench.llm.signals.negatives import in_batch

        leaf = ask.policy.trie.leaf
        return in_batch(ask.examples, leaf, ask.count, key=ask.key, block=self.block)


@dataclass(frozen=True, kw_only=True)
class Similar(Sampler):
    """Items whose text is near to that of an anchor."""

    pool: Count = 20
    """How many of the nearest are drawn from."""
    anchor: Literal["last", "target"] = "last"
    """The last item of the history, or the target."""
    nearest: bool = False
    """Whether the nearest are taken, and not drawn."""

    def draw(self, ask: Draw) -> Ints:
        from recbench.llm.decoding.text_space import text_space
        from recbench.llm.signals.negatives import similar, unit

        return similar(
            ask.examples,
            unit(text_space(ask.policy, ask.data, ask.run).vectors),
            ask.count,
            key=ask.key,
            pool=self.pool,
            anchor=self.anchor,
            nearest=self.nearest,
        )


@dataclass(frozen=True, kw_only=True)
class SASRecHard(Sampler):
    """The best wrong items of a SASRec on the training prompt: hard, but not by the policy's own errors."""

    pool: Count = 20
    """How many of the best are drawn from."""
    temperature: NotNegative = 0.0
    """0 takes the best; above, items are drawn with chances proportional to exp(score / temperature)."""

    def draw(self, ask: Draw) -> Ints:
        from recbench.llm.signals.lists import chosen_from, sasrec_lists

        lists = sasrec_lists(ask.policy.trie, ask.examples, ask.data, ask.run, depth=self.pool)
        return chosen_from(lists, ask.count, key=ask.key, temperature=self.temperature)


@dataclass(frozen=True, kw_only=True)
class SelfHard(Sampler):
    """The best wrong items of the parent, by exact search of the training prompt."""

    asks_policy: ClassVar[bool] = True

    def draw(self, ask: Draw) -> Ints:
        from recbench.llm.signals.lists import DEPTH, chosen_from

        return chosen_from(ask.lists(max(DEPTH, ask.count)), ask.count, key=ask.key, temperature=0.0)


@dataclass(frozen=True, kw_only=True)
class SelfTopK(Sampler):
    """Draws from the best wrong items of the parent with chances that follow its own; at temperature 0 these
    are the items of `self-hard`."""

    asks_policy: ClassVar[bool] = True
    pool: Count = 20
    """How many of the best are drawn from."""
    temperature: NotNegative = 1.0
    """Chances are proportional to exp(log-probability / temperature), without replacement."""
    resample: bool = False
    """Whether every epoch draws anew."""

    def draw(self, ask: Draw) -> Ints:
        from recbench.llm.signals.lists import chosen_from

        lists = ask.lists(self.pool)
        return chosen_from(lists, ask.count, key=ask.key, temperature=self.temperature)


@dataclass(frozen=True, kw_only=True)
class SelfPlay(Sampler):
    """The policy's own best answers, asked anew at the start of each round; the policy is then also the
    reference. An answer that is the target makes no pair."""

    asks_policy: ClassVar[bool] = True
    rounds: Count = 3
    """Rounds, which divide the epochs among them."""
    wrong: bool = False
    """Whether target and history are left out of the answers."""

    def draw(self, ask: Draw) -> Ints:
        from recbench.llm.signals.lists import chosen_from

        lists = ask.lists(ask.count, wrong=self.wrong)
        return chosen_from(lists, ask.count, key=ask.key, temperature=0.0)


SAMPLERS: Mapping[str, type[Any]] = {
    "uniform": Uniform,
    "popularity": Popularity,
    "in-batch": InBatch,
    "similar": Similar,
    "sasrec-hard": SASRecHard,
    "self-hard": SelfHard,
    "self-topk": SelfTopK,
    "self-play": SelfPlay,
}


def sampler_of(text: str) -> Sampler:
    """The sampler that `NAME` or `NAME:key=value:key=value` asks for. UsageError for what none is.

    That of another package is imported, and UnusablePluginError says why it cannot be used.
    """
    name, *settings = str(text).split(":")
    if name.lstrip("+-").isdigit():
        raise UsageError(
            f"negatives={name} is no sampler",
            why="`negatives` says where rejected items come from, `num_negatives` how many there are",
            fix=f"num_negatives={name}",
        )
    values = params.parse_assignments(settings)
    if name not in SAMPLERS and name in points.outside("sampler"):
        return outside_sampler(name, values)
    if name not in SAMPLERS:
        known = [*SAMPLERS, *points.outside("sampler")]
        raise unknown_name("sampler of negatives", name, known, fix="recbench list samplers")
    sampler: Sampler = params.build(SAMPLERS[name], values, what=f"negatives={name}")
    return sampler


def outside_sampler(name: str, values: Mapping[str, str]) -> Sampler:
    sampler: Sampler = extension.load("sampler", name).build(values)
    return sampler


def drawn(text: str, ask: Draw) -> Ints:
    """[E, K] what the sampler that `text` asks for draws.

    UnusablePluginError where that of another package fails, or draws no items.
    """
    sampler = sampler_of(text)
    if type(sampler) in SAMPLERS.values():
        return sampler.draw(ask)
    found = extension.load("sampler", extension.head(text))
    with found.faults("when it draws"):
        items = np.asarray(sampler.draw(ask))
    wanted = (len(ask.examples), ask.count)
    why = ""
    if items.shape != wanted or not np.issubdtype(items.dtype, np.integer):
        why = f"it gives {items.dtype} of shape {items.shape}, not whole numbers of shape {wanted}"
    elif items.size and not -1 <= items.min() <= items.max() < ask.data.num_items:
        last = ask.data.num_items - 1
        why = f"it gives {items.min()} to {items.max()}, and items are 0 to {last}, with -1 for none"
    if why:
        raise points.UnusablePluginError(
            f"{found.noun} of {found.distribution} draws no items",
            why=why,
            fix=f"return [E, K] item numbers, -1 where there are too few, in {found.place}",
            place=found.place,
        )
    return items.astype(np.int64)


def nothing_to_reject(text: str, num_examples: int) -> RecbenchError:
    """The error where the sampler that `text` asks for finds no item in any example.

    UnusablePluginError for that of another package.
    """
    why = (
        f"in none of {num_examples} examples it found an item beside the target, those with the target's "
        "identifier and the history"
    )
    name = extension.head(text)
    if name in SAMPLERS:
        return UsageError(
            f"negatives={text} found nothing to reject",
            why=why,
            fix="negatives=uniform, or a larger catalogue",
        )
    found = extension.load("sampler", name)
    return points.UnusablePluginError(
        f"{found.noun} of {found.distribution} found nothing to reject",
        why=f"{why}; of what it draws, the target and items with its identifier are dropped",
        fix=f"draw others in {found.place}, or negatives=uniform",
        place=found.place,
    )


def text_of(sampler: Sampler, name: str = "") -> str:
    """The one text that asks for this sampler: its name, and its parameters that are not the defaults.

    `name` is that of a sampler of another package.
    """
    name = name or next(name for name, kind in SAMPLERS.items() if kind is type(sampler))
    values = params.resolved(sampler)
    changed = [
        field.name
        for field in fields(sampler)  # type: ignore[arg-type]  # a protocol does not say that it is a dataclass
        if field.init and getattr(sampler, field.name) != params.default_of(field)
    ]
    return ":".join([name, *(f"{key}={params.as_word(values[params.as_typed(key)])}" for key in changed)])


def check_pool(sampler: Sampler, count: int, text: str) -> None:
    """UsageError where `count` items cannot come from the pool of the sampler that `text` asks for."""
    pool = getattr(sampler, "pool", None)  # another package's class need not derive from ours
    if pool is None or pool >= count:
        return
    raise UsageError(
        f"negatives={text} draws from {pool} items, fewer than num_negatives={count}",
        fix=f"negatives={text.partition(':')[0]}:pool={count}, or num_negatives={pool}",
    )
