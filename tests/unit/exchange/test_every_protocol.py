"""Every protocol from its split to a comparison: who is counted, and what is said of it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recbench.base.progress import Silent
from recbench.comparison.compare import compare
from recbench.comparison.rescore import rescore
from recbench.dataset.split import PreparedSplit, load_requests, load_targets, load_users
from recbench.exchange.import_ranking import External, import_ranking
from recbench.exchange.per_user_comparison import compare_files
from recbench.exchange.per_user_file import read, write
from recbench.protocol import PROTOCOLS, REPEATED, EvalProtocol
from recbench.results.bundle import Bundle
from recbench.results.request_features import request_numbers
from tests.unit.conftest import MakeSplit


def brought(name: str, share: float, split: PreparedSplit, rules: EvalProtocol, folder: Path) -> Bundle:
    """A ranking that has its target first for that share of requests, and last of all else."""
    requests = load_requests(split.folder, "test", exclude_seen=True)
    targets, users = load_targets(split.folder, "test"), load_users(split.folder)
    rng, rows = np.random.default_rng(len(name)), []
    numbers = request_numbers([users[int(user)] for user in requests.user])
    for row, (user, target) in enumerate(zip(requests.user, targets, strict=True)):
        pool = np.arange(100) if requests.allowed is None else requests.allowed[row]
        if rules.exclude_seen:
            assert requests.excluded is not None
            pool = np.setdiff1d(pool, requests.excluded[row])
        others = rng.permutation(pool[pool != target])
        first = rng.random() < share
        items = [target, *others] if first else [*others, target]
        record: dict[str, Any] = {
            "user": users[int(user)],
            "items": [str(item) for item in items[: rules.depth]],
        }
        rows.append(record if numbers[row] == 1 else record | {"request": int(numbers[row])})
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    one = External(name=name, file=path, seed=None)
    return import_ranking(one, split, rules, runs=folder / "runs", report=Silent())


@pytest.mark.parametrize("name", list(PROTOCOLS))
def test_users_are_counted_and_the_estimand_is_said_where_it_is_another(
    tmp_path: Path, make_split: MakeSplit, name: str
) -> None:
    rules, split = PROTOCOLS[name], make_split(name)
    good, poor = (
        brought(label, share, split, rules, tmp_path) for label, share in (("good", 0.8), ("poor", 0.3))
    )
    found = compare([good], [poor], "hr@1")
    users = len(set(good.users.tolist()))
    assert (found.num_users, found.num_requests) == (users, len(good.ranks))
    assert found.wins + found.ties + found.losses == users
    assert found.difference == pytest.approx(good.metrics["hr@1"] - poor.metrics["hr@1"])
    assert found.p < 0.001
    repeated = rules.asks == "repeatedly"
    assert (users < len(good.ranks)) == repeated
    assert found.estimand == (REPEATED if repeated else "")
    assert rescore(good, [1]).get("estimand", "") == found.estimand
    for run in (good, poor):
        write(tmp_path / f"{run.label}.csv", [run], [1])
    with (tmp_path / "good.csv").open() as stream:
        assert ("request" in next(csv.reader(stream))) == repeated
    files = [read(tmp_path / f"{label}.csv", "hr@1") for label in ("good", "poor")]
    [same] = compare_files(files, "hr@1").comparisons
    assert (same.low, same.high, same.p) == pytest.approx((found.low, found.high, found.p))
    assert (same.num_users, same.num_requests, same.estimand) == (users, len(good.ranks), found.estimand)
