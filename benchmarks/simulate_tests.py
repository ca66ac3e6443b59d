"""How often recbench's tests claim a difference where there is none, and how often they find a real one.

    python benchmarks/simulate_tests.py --jobs 2    # 15 minutes of one core; repeated, it continues
    python benchmarks/simulate_tests.py --repeats 200 --out FILE    # a glance
    python benchmarks/simulate_tests.py --table                     # the record as docs/statistics.md has it

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
from numpy.typing import NDArray
from scipy import stats

from recbench import significance

Floats = NDArray[np.float64]
Tests = Mapping[str, Callable[[Floats, Floats], bool]]

# Fixed before the first run of this script.
REPEATS = 10_000
POWER_REPEATS = 500
ALPHA = 0.05
SEED = 20_260_101
OWN_TASTE = 0.3
SHARED_BY_PARENT = 0.5
GAIN = 0.1
SIGN_FLIPS = 999
RESAMPLES = 1_000
CHANCES = 1 << 16
"""Equally likely chances of a hit that stand for their distribution."""
RANKS = np.arange(1, 11)
RANK_SHARES = (1 / RANKS) / (1 / RANKS).sum()
GAINS_OF_RANKS = 1 / np.log2(RANKS + 1)
OUT = Path(__file__).parent / "simulation" / "tests.json"


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
        "two-level bootstrap": lambda a, b: _excludes_zero(
            significance.two_level_interval(a, b, joint=one.joint, resamples=RESAMPLES)
        ),
        "naive: users x seeds pooled": lambda a, b: significance.paired_t((a - b).reshape(-1)).p <= ALPHA,
    }


def _excludes_zero(interval: tuple[float, float]) -> bool:
    return not interval[0] <= 0 <= interval[1]


def chances_of(hit_rate: float) -> Floats:
    """Quantiles of Beta(1/2, ·) with mean `hit_rate`, [CHANCES]."""
    quantiles: Floats = stats.beta.ppf(
        (np.arange(CHANCES) + 0.5) / CHANCES, 0.5, 0.5 * (1 - hit_rate) / hit_rate
    )
    return quantiles


def draw(one: Setting, possible: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """NDCG@10 of both methods, [S, U] each; users' chances are drawn from `possible`."""
    shared, *own = possible[rng.integers(0, len(possible), (3, one.num_users))]
    mean = one.hit_rate * float(RANK_SHARES @ GAINS_OF_RANKS)
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
        values[hits] = rng.choice(GAINS_OF_RANKS, size=int(hits.sum()), p=RANK_SHARES)
        sides.append(values)
    return sides[0], sides[1]


def result(one: Setting, repeats: int) -> dict[str, Any]:
    """The share of repeats in which each test claims a difference. The draws depend on the setting alone."""
    rng = np.random.default_rng([SEED, *json.dumps(asdict(one), sort_keys=True).encode()])
    claims, possible = tests(one), chances_of(one.hit_rate)
    counts = dict.fromkeys(claims, 0)
    for _ in range(repeats):
        a, b = draw(one, possible, rng)
        for name, claim in claims.items():
            counts[name] += claim(a, b)
    rates = {name: count / repeats for name, count in counts.items()}
    return {"setting": asdict(one), "repeats": repeats, "rates": rates}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, help=f"[{REPEATS}, of power {POWER_REPEATS}]")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--table", action="store_true")
    chosen = parser.parse_args()
    if chosen.table:
        print(table(json.loads(chosen.out.read_text())))
        return
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    record: dict[str, Any] = {"alpha": ALPHA, "numpy": np.__version__, "results": []}
    if chosen.out.exists():
        record = json.loads(chosen.out.read_text())
    done = [one["setting"] for one in record["results"]]
    wanted = [one for one in settings() if asdict(one) not in done]
    repeats = [chosen.repeats or (POWER_REPEATS if one.gain else REPEATS) for one in wanted]
    start = time.perf_counter()
    with ProcessPoolExecutor(chosen.jobs) as pool:
        for found in pool.map(result, wanted, repeats):
            record["results"].append(found)
            chosen.out.write_text(json.dumps(record, indent=1) + "\n")
            print(f"{time.perf_counter() - start:6.0f} s", found["setting"], found["rates"], flush=True)
    print(table(record))


def table(record: Mapping[str, Any]) -> str:
    """Rates in percent with their Monte-Carlo standard errors."""
    lines = []
    for gain in (0.0, GAIN):
        for several in (False, True):
            results = [
                one
                for one in record["results"]
                if one["setting"]["gain"] == gain and (one["setting"]["num_seeds"] > 1) == several
            ]
            if not results:
                continue
            names = list(results[0]["rates"])
            what = "Type-I error" if gain == 0 else f"Power, A's chances of a hit {gain:+.0%}"
            columns = ["users", "hit rate", *(["seeds", "seed sd", "joint"] if several else []), *names]
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
        *seeds,
        *(_percent(found["rates"][name], found["repeats"]) for name in names),
    ]


def _percent(rate: float, repeats: int) -> str:
    return f"{100 * rate:.2f} ± {100 * math.sqrt(rate * (1 - rate) / repeats):.2f}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
