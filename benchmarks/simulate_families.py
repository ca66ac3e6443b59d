"""How often families of comparisons err, cover and find, at the sizes that boards have.

    python benchmarks/simulate_families.py            # a few minutes of one core; repeated, it continues
    python benchmarks/simulate_families.py --table    # only puts the record into docs/statistics.md

Moments of tables are drawn, not users: a run's mean is that of endlessly many users, plus what its seed moves
it, plus what the users asked and the seed's own noise in them add. The variance of a user's NDCG@10 and what
methods and seeds share of it are those of real runs. The tests are recbench's own (`table_pairs.pairs`);
"before" is the crossed-variance t with every pair's own seed variance, and the two-level bootstrap of seeds,
then users. In two cells users are drawn too, with values that are mostly zero, and compared with the moments.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import ndtr, stdtr

from recbench.comparison import table_pairs
from recbench.comparison.table_pairs import Layout, Moments
from recbench.data import Floats

# Fixed before the first run of this script.
REPEATS = 4_000
SEED = 20_261_129
ALPHA = 0.05
RESAMPLES = 1_000
SHARED_BY_PARENT = 0.7
"""Of the variance between seeds, where methods start from the same parents."""
VARIANCE = 0.0283
"""Of NDCG@10 over users, in one run."""
OF_METHODS, OF_SEEDS = 0.53, 0.60
"""Correlation of the same user's values in runs of two methods, and in two seeds of one."""
STEP = 0.0012
"""Between neighbours, where methods differ."""
USERS = (943, 24_000, 50_000)
SDS: dict[str, tuple[float, ...]] = {
    "0": (0.0,) * 10,
    ".002": (0.002,) * 10,
    ".005": (0.005,) * 10,
    "half .001, half .004": (0.001,) * 5 + (0.004,) * 5,
    "one .006, nine .002": (0.006,) + (0.002,) * 9,
    "one .010, nine .001": (0.010,) + (0.001,) * 9,
}
OUT = Path(__file__).parent / "simulation" / "families.json"
DOCS = Path(__file__).parent.parent / "docs" / "statistics.md"
MARKS = ("<!-- families -->", "<!-- end of families -->")
Result = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """The variance of a user's value: of all runs, of all seeds of a method, of a run alone."""

    common: float = OF_METHODS * VARIANCE
    method: float = (OF_SEEDS - OF_METHODS) * VARIANCE
    run: float = (1 - OF_SEEDS) * VARIANCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    users: int
    seeds: tuple[int, ...]
    sds: str
    joint: bool = False
    blocks: int = 1
    step: float = 0.0
    rows: int = 10

    @property
    def seed_sds(self) -> Floats:
        return np.array(SDS[self.sds][: self.rows])

    @property
    def layout(self) -> Layout:
        block = [row * self.blocks // self.rows for row in range(self.rows)]
        return Layout(block, [0 if self.joint else None] * self.rows)


def cells() -> Iterator[Cell]:
    for users in USERS:
        yield Cell(users=users, seeds=(1,) * 10, sds="0")
        for joint in (False, True):
            for sds in SDS:
                for seeds in (2, 3, 5) if sds != "0" or not joint else ():
                    yield Cell(users=users, seeds=(seeds,) * 10, sds=sds, joint=joint)
        for sds in (".002", ".005", "half .001, half .004"):
            yield Cell(users=users, seeds=(5,) * 5 + (3,) * 5, sds=sds)
        yield Cell(users=users, seeds=(3,) * 10, sds="half .001, half .004", blocks=2)
    for joint in (False, True):
        for seeds in (2, 3, 5):
            yield Cell(users=24_000, seeds=(seeds,) * 2, sds=".005", joint=joint, rows=2)
        for users in USERS[:2]:
            for sds in (".002", "half .001, half .004"):
                for seeds in (1, 2, 3, 5, 10):
                    if seeds > 1 or not joint:
                        step = STEP * math.sqrt(24_000 / users) if users < 24_000 else STEP
                        yield Cell(users=users, seeds=(seeds,) * 10, sds=sds, joint=joint, step=step)


def drawn(cell: Cell, rng: np.random.Generator, *, shares: Shares | None = None) -> Moments:
    """Moments of REPEATS tables; row r is better than row r - 1 by the step. One seed is its own truth."""
    shares, size, repeats = shares or Shares(), cell.rows, REPEATS
    asked = rng.normal(0, math.sqrt(shares.common / cell.users), (repeats, 1)) + rng.normal(
        0, math.sqrt(shares.method / cell.users), (repeats, size)
    )
    most = max(cell.seeds)
    parent, own = rng.normal(size=(repeats, 1, most)), rng.normal(size=(repeats, size, most))
    weight = SHARED_BY_PARENT if cell.joint else 0.0
    moved = cell.seed_sds[:, None] * (math.sqrt(weight) * parent + math.sqrt(1 - weight) * own)
    noise = rng.normal(0, math.sqrt(shares.run / cell.users), (repeats, size, most))
    runs = asked[:, :, None] + (moved if most > 1 else 0.0) + noise + cell.step * np.arange(size)[:, None]
    of_run = [np.array(shares.run if seeds > 1 else 0.0) for seeds in cell.seeds]
    left = {
        family: [np.array(shares.run * (1 - 1 / len(rows)))] * len(rows)
        for family, rows in table_pairs.families(cell.layout, cell.seeds).items()
    }
    return Moments(
        seeds=[runs[:, row, :seeds] for row, seeds in enumerate(cell.seeds)],
        covariance=shares.common + np.diag(shares.method + shares.run / np.array(cell.seeds)),
        num_users=cell.users,
        layout=cell.layout,
        interactions=of_run,
        left=left,
    )


def unpooled(found: Moments, *, joint: bool) -> Floats:
    """p of the crossed-variance t with the seeds of each pair alone [T, pairs], written for moments."""
    spread, every = np.diag(found.covariance), []
    for a, b in combinations(range(len(found.seeds)), 2):
        one, other = found.seeds[a], found.seeds[b]
        users = (spread[a] + spread[b] - 2 * found.covariance[a, b]) / found.num_users
        variance, below = users, users**2 / (found.num_users - 1)
        if joint:
            sides = [(one - other, found.interactions[a] + found.interactions[b])]
        else:
            sides = [(one, found.interactions[a]), (other, found.interactions[b])]
        for side, interaction in sides:
            seeds = side.shape[-1]
            if seeds > 1:
                between = side.var(-1, ddof=1) / seeds
                variance = variance + np.maximum(between - interaction / (seeds * found.num_users), 0)
                below = below + between**2 / (seeds - 1)
        difference = one.mean(-1) - other.mean(-1)
        every.append(2 * stdtr(variance**2 / below, -np.abs(difference) / np.sqrt(variance)))
    return np.stack(every, axis=-1)


def bootstrap_misses(found: Moments, a: int, b: int, rng: np.random.Generator, *, joint: bool) -> float:
    """How often the two-level bootstrap's 95 % interval of row a - row b misses 0, users in their normal
    limit."""
    sides, shares = [found.seeds[a], found.seeds[b]], Shares()
    missed = 0
    for start in range(0, len(sides[0]), 250):
        parts = [side[start : start + 250] for side in sides]
        weights = [_weights(part, rng) for part in parts]
        if joint:
            weights[1] = weights[0]
        noise = 2 * shares.method + shares.run * sum((weight**2).sum(-1) for weight in weights)
        draws = np.einsum("tbs,ts->tb", weights[0], parts[0]) - np.einsum("tbs,ts->tb", weights[1], parts[1])
        draws += rng.standard_normal(draws.shape) * np.sqrt(noise / found.num_users)
        low, high = np.quantile(draws, [0.025, 0.975], axis=1)
        missed += int(((low > 0) | (high < 0)).sum())
    return missed / len(sides[0])


def _weights(part: Floats, rng: np.random.Generator) -> Floats:
    seeds = part.shape[-1]
    counts: Floats = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=(len(part), RESAMPLES)) / seeds
    return counts


def holm(p: Floats) -> Floats:
    """Holm's adjusted p in each line [T, m]."""
    order = np.argsort(p, axis=1)
    stepped = np.take_along_axis(p, order, 1) * np.arange(p.shape[1], 0, -1)
    adjusted = np.empty_like(p)
    np.put_along_axis(adjusted, order, np.minimum(np.maximum.accumulate(stepped, 1), 1.0), 1)
    return adjusted


def measure(cell: Cell) -> Result:
    """Percent; the draws depend on the cell alone."""
    rng = np.random.default_rng([SEED, *json.dumps(asdict(cell)).encode()])
    found = drawn(cell, rng)
    after = table_pairs.pairs(found)
    p = {"before": unpooled(found, joint=cell.joint and max(cell.seeds) > 1), "after": after.p}
    result: Result = {}
    if cell.step:
        for when, each in p.items():
            claims = holm(each) <= ALPHA
            result[when] = {
                "pairs": _percent(claims.mean()),
                "reference": _percent((holm(each[:, : cell.rows - 1]) <= ALPHA).mean()),
                "wrong": _percent((claims & (after.difference > 0)).any(1).mean()),
            }
        return result
    kinds: dict[Any, list[int]] = {}
    for number, pair in enumerate(combinations(range(cell.rows), 2)):
        kind = tuple(sorted((cell.seed_sds[row], cell.seeds[row]) for row in pair))
        kinds.setdefault(kind, []).append(number)
    for when, each in p.items():
        result[when] = {
            "single": _percent((each <= ALPHA).mean()),
            "worst": _percent(max((each[:, kind] <= ALPHA).mean() for kind in kinds.values())),
            "pairs": _percent((holm(each) <= ALPHA).any(1).mean()),
            "reference": _percent((holm(each[:, : cell.rows - 1]) <= ALPHA).any(1).mean()),
        }
    if max(cell.seeds) > 1:
        pairs_of = list(combinations(range(cell.rows), 2))
        misses = [
            bootstrap_misses(found, *pairs_of[kind[0]], rng, joint=cell.joint) for kind in kinds.values()
        ]
        result["before"]["bootstrap"] = _percent(max(misses))
    return result


def _percent(rate: float) -> float:
    return round(100 * float(rate), 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A cell drawn by users too."""

    cell: Cell
    repeats: int


CHECKS = (
    Check(cell=Cell(users=943, seeds=(3,) * 10, sds=".005"), repeats=4_000),
    Check(cell=Cell(users=24_000, seeds=(3,) * 10, sds="half .001, half .004", joint=True), repeats=1_000),
)
HIT_RATE = 0.11


def values_of(latent: Floats) -> Floats:
    """NDCG@10 of normal scores: mostly no hit, the others on rank r of 1 to 10 in proportion to 1/r."""
    shares = (1 / np.arange(1, 11)) / (1 / np.arange(1, 11)).sum()
    bounds = 1 - HIT_RATE + HIT_RATE * np.concatenate([[0.0], np.cumsum(shares[::-1])])
    gains = np.concatenate([[0.0], 1 / np.log2(np.arange(10, 0, -1) + 1), [1.0]])
    found: Floats = gains[np.searchsorted(bounds[:-1], ndtr(latent), side="right")]
    return found


def table_of_users(cell: Cell, rng: np.random.Generator) -> list[Floats]:
    """Each row [S, U]; a seed multiplies all gains of its run."""
    size, most, mean = cell.rows, max(cell.seeds), HIT_RATE * 0.6
    scores = (
        math.sqrt(OF_METHODS) * rng.standard_normal((1, 1, cell.users), dtype=np.float32)
        + math.sqrt(OF_SEEDS - OF_METHODS) * rng.standard_normal((size, 1, cell.users), dtype=np.float32)
        + math.sqrt(1 - OF_SEEDS) * rng.standard_normal((size, most, cell.users), dtype=np.float32)
    )
    weight = SHARED_BY_PARENT if cell.joint else 0.0
    parent, own = rng.normal(size=(1, most)), rng.normal(size=(size, most))
    moved = math.sqrt(weight) * parent + math.sqrt(1 - weight) * own
    values = values_of(scores) * (1 + cell.seed_sds[:, None] / mean * moved)[:, :, None]
    return [values[row, :seeds] for row, seeds in enumerate(cell.seeds)]


def check(one: Check) -> Result:
    """Family-wise error over users and over moments that have the same shares of variance."""
    rng = np.random.default_rng([SEED, one.cell.users])
    claims = 0
    for _ in range(one.repeats):
        p = table_pairs.pairs(table_pairs.moments(table_of_users(one.cell, rng), one.cell.layout)).p
        claims += bool((holm(p[None, :]) <= ALPHA).any())
    still = Cell(users=200_000, seeds=(2, 2), sds="0", rows=2)
    (a, other), (b, _) = table_of_users(still, rng)
    shares = Shares(
        common=float(np.cov(a, b)[0, 1]),
        method=float(np.cov(a, other)[0, 1] - np.cov(a, b)[0, 1]),
        run=float(a.var() - np.cov(a, other)[0, 1]),
    )
    p = table_pairs.pairs(drawn(one.cell, rng, shares=shares)).p
    return {
        "repeats": one.repeats,
        "users": _percent(claims / one.repeats),
        "moments": _percent((holm(p) <= ALPHA).any(1).mean()),
    }


def main() -> None:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("--table", action="store_true")
    chosen = parser.parse_args()
    record = json.loads(OUT.read_text()) if OUT.exists() else {"cells": [], "checks": []}
    if not chosen.table:
        start = time.perf_counter()
        done = {json.dumps(found["cell"]): found for found in record["cells"]}
        record["cells"] = [
            done.get(json.dumps(asdict(cell))) or {"cell": asdict(cell), **measure(cell)} for cell in cells()
        ]
        OUT.write_text(_lines(record))
        print(f"{time.perf_counter() - start:.0f} s for the cells", flush=True)
        known = {json.dumps(found["cell"]): found for found in record["checks"]}
        record["checks"] = [
            known.get(json.dumps(asdict(one.cell))) or {"cell": asdict(one.cell), **check(one)}
            for one in CHECKS
        ]
        OUT.write_text(_lines(record))
        print(f"{time.perf_counter() - start:.0f} s in all", flush=True)
    before, after = DOCS.read_text().split(MARKS[0])[0], DOCS.read_text().split(MARKS[1])[1]
    DOCS.write_text(f"{before}{MARKS[0]}\n\n{table(record)}\n{MARKS[1]}{after}")


def _lines(record: Mapping[str, Sequence[Result]]) -> str:
    """One line a cell."""
    lists = [
        f' "{name}": [\n' + ",\n".join(f"  {json.dumps(one)}" for one in found) + "\n ]"
        for name, found in record.items()
    ]
    return "{\n" + ",\n".join(lists) + "\n}\n"


def table(record: Mapping[str, Sequence[Result]]) -> str:
    """Before and after, in percent."""
    null = [found for found in record["cells"] if not found["cell"]["step"]]
    true = [found for found in record["cells"] if found["cell"]["step"]]
    head = ["users", "seeds", "seed sds", "single", "worst pair", "bootstrap", "45 pairs", "9 against one"]
    lines = ["**Error, all methods alike** (%)", "", _line(head), _rule(head)]
    for found in null:
        before, after = found["before"], found["after"]
        lines.append(
            _line(
                [
                    *_place(found["cell"]),
                    *(_change(before[name], after[name]) for name in ("single", "worst")),
                    f"{before['bootstrap']:.1f}" if "bootstrap" in before else "–",
                    *(_change(before[name], after[name]) for name in ("pairs", "reference")),
                ]
            )
        )
    head = ["users", "seeds", "seed sds", "step", "45 pairs", "9 against the first", "wrong sign"]
    lines += ["", "**Power, ten methods a step apart** (%)", "", _line(head), _rule(head)]
    for found in true:
        names = ("pairs", "reference", "wrong")
        changes = [_change(found["before"][name], found["after"][name]) for name in names]
        lines.append(_line([*_place(found["cell"]), f"{found['cell']['step']:.4f}", *changes]))
    head = ["users", "seeds", "seed sds", "repeats", "drawn by users", "by moments"]
    lines += ["", "**Moments against users: error of 45 pairs** (%)", "", _line(head), _rule(head)]
    for found in record["checks"]:
        rates = [f"{found[name]:.1f}" for name in ("users", "moments")]
        lines.append(_line([*_place(found["cell"]), f"{found['repeats']:,}", *rates]))
    return "\n".join(lines) + "\n"


def _place(cell: Mapping[str, Any]) -> list[str]:
    seeds = " and ".join(map(str, dict.fromkeys(cell["seeds"])))
    extra = ", joint" if cell["joint"] else ""
    extra += ", two blocks" if cell["blocks"] > 1 else ""
    extra += ", two methods" if cell["rows"] == 2 else ""
    return [f"{cell['users']:,}", seeds + extra, cell["sds"]]


def _change(before: float, after: float) -> str:
    return f"{before:.1f} → {after:.1f}"


def _rule(head: Sequence[str]) -> str:
    return _line(["--:"] * len(head))


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
