"""How often the tests err where a user asks repeatedly: errors of users against errors of requests.

    python benchmarks/simulate_requests.py              # two minutes of one core
    python benchmarks/simulate_requests.py --repeats 200 --out FILE    # a glance
    python benchmarks/simulate_requests.py --table      # only puts the record into docs/statistics.md

Users are those of `simulate_tests.py`: a user's chance of a hit in the top 10 is drawn from Beta(1/2, .) with
mean `HIT_RATE`, and with the chance `OWN_TASTE` a method has a draw of its own for the user. All requests of
a user have the user's chances, so what a method is good at stays with the user; whether a request is a hit,
and at which rank, is drawn for each by itself. How often users ask is one of
- `even`: everybody twice;
- `tail`: 48 of 100 once, the others 2 and more with a mean of 3.5, about as the test rows of MiniOneRec's two
  sets (1,987 users with 4,533 rows, 2,024 with 4,866);
- `heavy`: 1 and more by a power law (Pareto, 1.5), at most a tenth of the users' number: a few users have a
  large part of all requests.
The numbers are drawn again in each repeat. Where there is a true difference, all chances of method A are
multiplied by 1 + `gain`; seeds move all chances of a run so that the mean NDCG@10 has the standard deviation
`seed_sd`.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy import special, stats

from recbench.comparison import significance
from recbench.data import Floats, Ints
from recbench.results.metrics import by_user, user_sums

Asks = Literal["even", "tail", "heavy"]
Result = dict[str, Any]

# Fixed before the first run of this script.
REPEATS = 4_000
ALPHA = 0.05
SEED = 20_260_104
OWN_TASTE = 0.3
HIT_RATE = 0.1
GAIN = 0.1
SIGN_FLIPS = 499
ONCE, MORE = 0.48, 1.46
"""The share of users who ask once, and the mean of what others ask beyond twice."""
CHANCES = stats.beta.ppf((np.arange(1 << 16) + 0.5) / (1 << 16), 0.5, 0.5 * (1 - HIT_RATE) / HIT_RATE)
RANKS = np.arange(1, 11)
GAINS_DRAWN = np.repeat(1 / np.log2(RANKS + 1), np.round(4096 / RANKS / (1 / RANKS).sum()).astype(int))
OUT = Path(__file__).parent / "simulation" / "requests.json"
DOCS = Path(__file__).parent.parent / "docs" / "statistics.md"
MARKS = ("<!-- requests -->", "<!-- end of requests -->")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    num_users: int
    asks: Asks
    num_seeds: int = 1
    seed_sd: float = 0.0
    gain: float = 0.0


SETTINGS = (
    Setting(num_users=50, asks="tail"),
    Setting(num_users=200, asks="tail"),
    Setting(num_users=500, asks="tail"),
    Setting(num_users=2_000, asks="even"),
    Setting(num_users=2_000, asks="tail"),
    Setting(num_users=200, asks="heavy"),
    Setting(num_users=2_000, asks="heavy"),
    Setting(num_users=2_000, asks="tail", num_seeds=3, seed_sd=0.002),
    Setting(num_users=2_000, asks="tail", num_seeds=5, seed_sd=0.002),
    Setting(num_users=2_000, asks="tail", gain=GAIN),
    Setting(num_users=2_000, asks="heavy", gain=GAIN),
    Setting(num_users=2_000, asks="tail", num_seeds=5, seed_sd=0.002, gain=GAIN),
)


def asking(one: Setting, rng: np.random.Generator) -> Ints:
    """[R] the user of each request."""
    if one.asks == "even":
        counts = np.full(one.num_users, 2)
    elif one.asks == "tail":
        counts = 1 + rng.geometric(1 / (1 + MORE), one.num_users)
        counts[rng.random(one.num_users) < ONCE] = 1
    else:
        most = max(2, one.num_users // 10)
        counts = np.minimum(1 + rng.pareto(1.5, one.num_users), most).astype(np.int64)
    return np.repeat(np.arange(one.num_users), counts)


def draw(one: Setting, users: Ints, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """NDCG@10 of both methods, [S, R] each."""
    shared, *own = CHANCES[rng.integers(0, len(CHANCES), (3, one.num_users))]
    mean = HIT_RATE * float(GAINS_DRAWN.mean())
    sides = []
    for taste, factor in zip(own, (1 + one.gain, 1.0), strict=True):
        chance = np.where(rng.random(one.num_users) < OWN_TASTE, taste, shared) * factor
        moved = 1 + one.seed_sd / mean * rng.standard_normal((one.num_seeds, 1))
        hits = rng.random((one.num_seeds, len(users)), dtype=np.float32) < (chance * moved)[:, users]
        values = np.zeros(hits.shape)
        values[hits] = GAINS_DRAWN[rng.integers(0, len(GAINS_DRAWN), int(hits.sum()))]
        sides.append(values)
    return sides[0], sides[1]


def flipped(sums: Floats, signs: Floats) -> float:
    """p of the sign-flip permutation with these signs [resamples, U]; as `significance.sign_flip` with its
    own."""
    extreme = np.abs(signs @ sums) >= abs(float(sums.sum())) - 1e-12 * float(np.abs(sums).sum())
    return float(1 + extreme.sum()) / (1 + len(signs))


def verdicts(one: Setting, a: Floats, b: Floats, users: Ints, signs: Floats) -> dict[str, bool]:
    """Whether each test claims a difference at ALPHA."""
    if one.num_seeds > 1:
        of_users = significance.crossed_t(by_user(a, users), by_user(b, users))
        of_requests = significance.crossed_t(a, b)
        return {
            "t of users": of_users.p <= ALPHA,
            "naive: t of requests": of_requests.p <= ALPHA,
        }
    difference = (a - b)[0]
    sums, _ = user_sums(difference, users)
    return {
        "t of users": significance.paired_t(by_user(difference, users)).p <= ALPHA,
        "sign-flip by user": flipped(sums, signs) <= ALPHA,
        "naive: t of requests": significance.paired_t(difference).p <= ALPHA,
        "naive: McNemar of requests, HR@10": significance.mcnemar(a[0] > 0, b[0] > 0) <= ALPHA,
    }


def claims(one: Setting, repeats: int) -> dict[str, int]:
    """In how many of `repeats` each test claims a difference. The draws depend on the setting alone."""
    rng = np.random.default_rng([SEED, *json.dumps(asdict(one), sort_keys=True).encode()])
    signs = np.where(rng.integers(0, 2, (SIGN_FLIPS, one.num_users)) == 1, 1.0, -1.0)
    counts: dict[str, int] = {}
    for _ in range(repeats):
        users = asking(one, rng)
        for name, claim in verdicts(one, *draw(one, users, rng), users, signs).items():
            counts[name] = counts.get(name, 0) + claim
    return counts


def main() -> None:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--table", action="store_true")
    chosen = parser.parse_args()
    if not chosen.table:
        special.stdtr(1.0, 0.0)  # loaded before the clock starts
        start, results = time.perf_counter(), []
        for one in SETTINGS:
            results.append(
                {"setting": asdict(one), "repeats": chosen.repeats, "claims": claims(one, chosen.repeats)}
            )
            print(f"{time.perf_counter() - start:6.0f} s", one, results[-1]["claims"], flush=True)
        chosen.out.write_text(json.dumps(results, indent=1) + "\n")
    if chosen.out == OUT:
        before, rest = DOCS.read_text().split(MARKS[0])
        record = table(json.loads(OUT.read_text()))
        DOCS.write_text(f"{before}{MARKS[0]}\n\n{record}\n{MARKS[1]}{rest.split(MARKS[1])[1]}")


def table(results: Sequence[Result]) -> str:
    """Rates in percent with their Monte-Carlo standard errors; a dash where a test was not asked."""
    names = list(results[0]["claims"])
    head = ["users", "requests", "seeds", "seed sd", *names]
    lines = []
    for gain, what in ((0.0, "Type-I error"), (GAIN, f"Power, A's chances of a hit {GAIN:+.0%}")):
        lines += [f"**{what}, users who ask repeatedly** (%)", "", _line(head), _line(["--:"] * len(head))]
        lines += [_line(_cells(one, names)) for one in results if one["setting"]["gain"] == gain] + [""]
    return "\n".join(lines)


def _cells(found: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    one, repeats = found["setting"], found["repeats"]
    rates = [found["claims"][name] / repeats if name in found["claims"] else None for name in names]
    return [
        f"{one['num_users']:,}",
        one["asks"],
        str(one["num_seeds"]),
        f"{one['seed_sd']:g}",
        *("–" if rate is None else _percent(rate, repeats) for rate in rates),
    ]


def _percent(rate: float, repeats: int) -> str:
    return f"{100 * rate:.1f} ± {100 * math.sqrt(rate * (1 - rate) / repeats):.1f}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
