"""How often recbench's tests claim a difference where there is none, and how often they find a real one.

    python benchmarks/simulate_tests.py --jobs 2    # half an hour of one core; repeated, it continues
    python benchmarks/simulate_tests.py --repeats 200 --out FILE    # a glance
    python benchmarks/simulate_tests.py --table     # only puts the record into docs/statistics.md

Users differ in how predictable they are. A user's chance of a hit in the top 10 is drawn from
Beta(1/2, ·) with mean `hit_rate`; with the chance `OWN_TASTE` a method has a draw of its own for the user, so
that methods of equal mean are good at different users. A run multiplies all chances by 1 + e, with e normal
such that the mean NDCG@10 has the standard deviation `seed_sd` over runs; with joint seeds half of e's
variance comes from the parent that both methods share. Hits fall on rank r of 1..10 in proportion to 1/r.
Where there is a true difference, all chances of method A are multiplied by 1 + `gain`.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from recbench.comparison import significance
from recbench.data import Floats

Tests = Mapping[str, Callable[[Floats, Floats], bool]]
Result = dict[str, Any]

# Fixed before the first run of this script.
REPEATS = 10_000
CHUNK = 1_000
ALPHA = 0.05
SEED = 20_260_101
OWN_TASTE = 0.3
SHARED_BY_PARENT = 0.5
GAIN = 0.1
SIGN_FLIPS = 999
CHANCES = 1 << 16
"""Equally likely chances of a hit that stand for their distribution."""
RANKS = np.arange(1, 11)
RANK_SHARES = (1 / RANKS) / (1 / RANKS).sum()
GAINS_OF_RANKS = 1 / np.log2(RANKS + 1)
GAINS_DRAWN = np.repeat(GAINS_OF_RANKS, np.round(RANK_SHARES * 4096).astype(int))
OUT = Path(__file__).parent / "simulation" / "tests.json"
DOCS = Path(__file__).parent.parent / "docs" / "statistics.md"
MARKS = ("<!-- simulation -->", "<!-- end of simulation -->")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    num_users: int
    hit_rate: float
    num_seeds: int = 1
    seed_sd: float = 0.0
    joint: bool = False
    gain: float = 0.0


def settings() -> Iterator[Setting]:
    for gain in (0.0, GAIN):
        for num_users in (500, 5000):
            for hit_rate in (0.05, 0.1):
                yield Setting(num_users=num_users, hit_rate=hit_rate, gain=gain)
        for joint in (False, True):
            for num_seeds in (5, 10):
                for seed_sd in (0.002,) if joint else (0.0, 0.002):
                    yield _seeds(num_seeds, seed_sd, joint=joint, gain=gain)
        yield _seeds(3, 0.002, joint=False, gain=gain)


def _seeds(num_seeds: int, seed_sd: float, *, joint: bool, gain: float) -> Setting:
    return Setting(num_users=5000, hit_rate=0.1, num_seeds=num_seeds, seed_sd=seed_sd, joint=joint, gain=gain)


def tests(one: Setting) -> Tests:
    """Whether each test claims a difference between `a` [S, U] and `b` [S, U] at ALPHA."""
    if one.num_seeds == 1:
        return {
            "paired t": lambda a, b: significance.paired_t(a[0] - b[0]).p <= ALPHA,
            "sign-flip": lambda a, b: significance.sign_flip(a[0] - b[0], resamples=SIGN_FLIPS) <= ALPHA,
            "McNemar exact, HR@10": lambda a, b: significance.mcnemar(a[0] > 0, b[0] > 0) <= ALPHA,
        }
    return {
        "crossed-variance t": lambda a, b: significance.crossed_t(a, b, joint=one.joint).p <= ALPHA,
        "naive: users x seeds pooled": lambda a, b: significance.paired_t((a - b).reshape(-1)).p <= ALPHA,
    }


def chances_of(hit_rate: float) -> Floats:
    """Quantiles of Beta(1/2, ·) with mean `hit_rate`, [CHANCES]."""
    quantiles: Floats = stats.beta.ppf(
        (np.arange(CHANCES) + 0.5) / CHANCES, 0.5, 0.5 * (1 - hit_rate) / hit_rate
    )
    return quantiles


def draw(one: Setting, possible: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """NDCG@10 of both methods, [S, U] each; users' chances are drawn from `possible`."""
    shared, *own = possible[rng.integers(0, len(possible), (3, one.num_users))]
    mean = one.hit_rate * float(GAINS_DRAWN.mean())
    parent = rng.standard_normal(one.num_seeds) if one.joint else np.zeros(one.num_seeds)
    from_parent = SHARED_BY_PARENT if one.joint else 0.0
    sides = []
    for taste, factor in zip(own, (1 + one.gain, 1.0), strict=True):
        chance = np.where(rng.random(one.num_users) < OWN_TASTE, taste, shared) * factor
        moved = math.sqrt(from_parent) * parent + math.sqrt(1 - from_parent) * rng.standard_normal(
            one.num_seeds
        )
        chances = chance * (1 + one.seed_sd / mean * moved[:, None])
        hits = rng.random(chances.shape, dtype=np.float32) < chances
        values = np.zeros(chances.shape)
        values[hits] = GAINS_DRAWN[rng.integers(0, len(GAINS_DRAWN), int(hits.sum()))]
        sides.append(values)
    return sides[0], sides[1]


def claims(one: Setting, chunk: int, repeats: int) -> dict[str, int]:
    """In how many of `repeats` each test claims a difference. The draws depend on setting and chunk alone."""
    rng = np.random.default_rng([SEED, chunk, *json.dumps(asdict(one), sort_keys=True).encode()])
    wanted, possible = tests(one), chances_of(one.hit_rate)
    counts = dict.fromkeys(wanted, 0)
    for _ in range(repeats):
        a, b = draw(one, possible, rng)
        for name, claim in wanted.items():
            counts[name] += claim(a, b)
    return counts


def main() -> None:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--table", action="store_true")
    chosen = parser.parse_args()
    results = json.loads(chosen.out.read_text()) if chosen.out.exists() else []
    if chosen.table:
        write_table(results)
        return
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    work = list(_chunks(results, chosen.repeats))
    with ProcessPoolExecutor(chosen.jobs) as pool:
        for (one, _, repeats), counts in zip(work, pool.map(claims, *zip(*work, strict=True)), strict=True):
            _add(results, asdict(one), repeats, counts)
            chosen.out.write_text(json.dumps(results, indent=1) + "\n")
            if chosen.out == OUT:
                write_table(results)
            print(f"{time.perf_counter() - start:6.0f} s", one, counts, flush=True)


def write_table(results: Sequence[Result]) -> None:
    """Put the table between its marks in docs/statistics.md."""
    before, after = DOCS.read_text().split(MARKS[0])[0], DOCS.read_text().split(MARKS[1])[1]
    DOCS.write_text(f"{before}{MARKS[0]}\n\n{table(results)}\n{MARKS[1]}{after}")


def _chunks(results: Sequence[Result], repeats: int) -> Iterator[tuple[Setting, int, int]]:
    """(setting, chunk, repeats) of what is missing, one chunk of every setting before the next."""
    done = {json.dumps(found["setting"]): found["repeats"] for found in results}
    for chunk in range(REPEATS // CHUNK):
        for one in settings():
            size = min(CHUNK, repeats - chunk * CHUNK)
            if size > 0 and done.get(json.dumps(asdict(one)), 0) <= chunk * CHUNK:
                yield one, chunk, size


def _add(results: list[Result], setting: dict[str, Any], repeats: int, counts: Mapping[str, int]) -> None:
    for found in results:
        if found["setting"] == setting:
            found["repeats"] += repeats
            found["claims"] = {name: count + counts[name] for name, count in found["claims"].items()}
            return
    results.append({"setting": setting, "repeats": repeats, "claims": dict(counts)})


def table(everything: Sequence[Result]) -> str:
    """Rates in percent with their Monte-Carlo standard errors."""
    lines = []
    for gain in (0.0, GAIN):
        for several in (False, True):
            results = [
                one
                for one in everything
                if one["setting"]["gain"] == gain and (one["setting"]["num_seeds"] > 1) == several
            ]
            if not results:
                continue
            names = list(results[0]["claims"])
            what = "Type-I error" if gain == 0 else f"Power, A's chances of a hit {gain:+.0%}"
            columns = [
                "users",
                "hit rate",
                "repeats",
                *(["seeds", "seed sd", "joint"] if several else []),
                *names,
            ]
            lines += [f"**{what}, {'several seeds' if several else 'one checkpoint each'}** (%)", ""]
            lines += [_line(columns), _line(["--:"] * len(columns))]
            lines += [_line(_cells(one, names, several)) for one in results] + [""]
    return "\n".join(lines)


def _cells(found: Mapping[str, Any], names: Sequence[str], several: bool) -> list[str]:
    one = found["setting"]
    seeds = [str(one["num_seeds"]), f"{one['seed_sd']:g}", "yes" if one["joint"] else "no"] if several else []
    return [
        f"{one['num_users']:,}",
        f"{one['hit_rate']:g}",
        f"{found['repeats']:,}",
        *seeds,
        *(_percent(found["claims"][name] / found["repeats"], found["repeats"]) for name in names),
    ]


def _percent(rate: float, repeats: int) -> str:
    return f"{100 * rate:.2f} ± {100 * math.sqrt(rate * (1 - rate) / repeats):.2f}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
