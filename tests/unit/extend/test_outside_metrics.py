"""Metrics of other packages: over finished runs, in a child, in files of their own, never a board's order."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import recbench
from recbench.api.measuring import value_of
from recbench.base import digest
from recbench.errors import DigestError, UsageError
from recbench.reference import terms
from recbench.results import bundle
from recbench.results.measured.record import RESERVED, measured
from tests.conftest import World
from tests.unit.extend.conftest import Package

GROUP = "[recbench.metrics]\n"
METRIC = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np


@dataclass(kw_only=True)
class Odd:
    version: ClassVar[int] = 2

    def of_ranks(self, ranks, k):
        return BODY
"""


def scored(world: World, *words: str) -> dict[str, Any]:
    answer = world.recbench("score", *words, "--json")
    assert answer.returncode == 0, answer.stderr
    (record,) = json.loads(answer.stdout)
    found: dict[str, Any] = record
    return found


def test_a_metric_of_ranks_and_one_of_lists_are_recorded_beside_the_run_with_their_owner(
    example: World,
) -> None:
    (run,) = example.run("popularity")
    sealed = {name: (run.path / name).read_bytes() for name in run.files}
    words = (run.id, "--k", "5,10", "--metric", "rbp:persistence=0.5", "--metric", "novelty")
    rbp, novelty = scored(example, *words)["outside"]
    assert "my_extensions" not in sys.modules
    inside = np.where((run.ranks > 0) & (run.ranks <= 5), run.ranks, 0)
    share = np.where(inside > 0, 0.5 ** np.maximum(inside, 1) / (1 - 0.5**5), 0.0)
    assert rbp["label"] == "rbp[persistence=0.5]"
    assert rbp["values"]["5"]["mean"] == pytest.approx(share.mean(), abs=1e-12)
    assert rbp["values"]["5"]["low"] <= share.mean() <= rbp["values"]["5"]["high"]
    assert rbp["whose"].startswith("my-extensions 0.1.0, version 1, code ")
    counts = bundle.read_arrays(run.path / "context.npz")["item_popularity"].astype(float)
    bits = -np.log2(np.maximum(counts, 1) / np.maximum(counts, 1).sum())
    expected = bits[run.topk()["items"][:, :10]].mean(1).mean()
    assert novelty["values"]["10"]["mean"] == pytest.approx(expected, abs=1e-12)

    assert {name: (run.path / name).read_bytes() for name in run.files} == sealed
    kept = {one.metric: one for one in measured(run.path)}
    assert kept["rbp"].manifest == digest.of_file(run.path / "manifest.json")
    assert (kept["rbp"].distribution, kept["rbp"].release, kept["rbp"].version) == (
        "my-extensions",
        "0.1.0",
        1,
    )
    assert bundle.load(run.path).metrics == run.metrics


def test_in_python_a_metric_of_a_package_is_measured_and_recorded_as_on_the_command_line(
    example: World,
) -> None:
    (run,) = example.run("popularity")
    outside = scored(example, run.id, "--k", "5,10", "--metric", "rbp:persistence=0.5")["outside"]
    file = Path(outside[0]["file"])
    file.unlink()
    (loaded,) = recbench.load(run.id, root=example.root.path)
    table = loaded.measure("rbp:persistence=0.5", (5, 10))
    assert list(table.columns) == ["metric", "cutoff", "mean", "low", "high", "whose"]
    assert table["cutoff"].tolist() == [5, 10]
    for k, row in table.set_index("cutoff").iterrows():
        assert dict(row[["mean", "low", "high"]]) == outside[0]["values"][str(k)]
    assert set(table["whose"]) == {outside[0]["whose"]}
    assert file.is_file()
    with pytest.raises(UsageError, match="is a metric of recbench"):
        loaded.measure("ndcg")


def test_a_board_without_the_package_shows_what_is_recorded_and_is_never_ordered_by_it(
    example: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for run in example.run("popularity", "counts"):
        scored(example, run.id, "--k", "10", "--metric", "rbp")
    refused = example.recbench("leaderboard", "build", "--metric", "rbp@10")
    assert refused.returncode == 2
    assert "'rbp' is a metric of my-extensions" in refused.stderr
    assert "recbench score RUN --metric rbp" in refused.stderr

    without = [part for part in sys.path if "my-extensions" not in part and "example-site" not in part]
    monkeypatch.setattr(sys, "path", without)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(without))
    assert example.recbench("list", "metrics").returncode == 0
    built = example.recbench("leaderboard", "build")
    assert built.returncode == 0, built.stderr
    (board,) = example.root.path.glob("leaderboards/*/board.json")
    table = json.loads(board.read_text())["tables"][0]
    (column,) = table["outside"]
    assert column["name"] == "rbp[persistence=0.8]@10"
    assert len(column["means"]) == 2
    line = next(line for line in board.with_name("board.md").read_text().splitlines() if "rbp" in line)
    assert "my-extensions 0.1.0, version 1, code" in line
    assert (
        f"popularity {column['means'][[row['name'] for row in table['rows']].index('popularity')]:.4f}"
        in line
    )
    assert "rbp" in board.with_name("index.html").read_text()
    assert example.recbench("leaderboard", "check", board.parent.name).returncode == 0


def test_a_board_without_such_metrics_says_nothing_of_them(world: World) -> None:
    world.run("popularity")
    assert world.recbench("leaderboard", "build").returncode == 0
    (board,) = world.root.path.glob("leaderboards/*/board.json")
    assert "outside" not in json.loads(board.read_text())["tables"][0]


def test_the_interval_is_over_users_who_may_ask_repeatedly() -> None:
    def ran(users: Any) -> Any:
        return SimpleNamespace(ranks=np.zeros(2000, dtype=np.int32), user_numbers=users)

    answer = [0.0] * 1000 + [1.0] * 1000
    once = value_of(answer, ran(None))
    assert once.mean == 0.5
    assert [once.low, once.high] == pytest.approx([0.478, 0.522], abs=5e-3)
    twice = value_of(answer, ran(np.arange(2000) // 1000))  # two users, who may both be drawn as one
    assert (twice.mean, twice.low, twice.high) == (0.5, 0.0, 1.0)


BROKEN = {
    "short": ("ranks[:3] * 1.0", "values of shape (3,) for"),
    "nothing": ("np.where(ranks > -1, np.nan, 0.0)", "it gives nan"),
    "endless": ("float('inf')", "it gives inf"),
    "failing": ("1 / 0", "ZeroDivisionError"),
    "talking": ("'much'", "could not convert string to float"),
    "ending": ("__import__('os')._exit(3)", "ended the process"),
}


def test_a_metric_that_gives_no_numbers_is_named_and_leaves_nothing(world: World, package: Package) -> None:
    points = "".join(f"{name} = lantern:{name.title()}\n" for name in BROKEN)
    head, _, tail = METRIC.partition("@dataclass")
    classes = [
        f"@dataclass{tail}".replace("Odd", name.title()).replace("BODY", body)
        for name, (body, _) in BROKEN.items()
    ]
    package("lantern", GROUP + points, "\n\n".join([head, *classes]))
    (run,) = world.run("popularity")
    for name, (_, why) in BROKEN.items():
        answer = world.recbench("score", run.id, "--metric", name)
        assert answer.returncode == 3, name
        assert f"metric '{name}' of lantern" in answer.stderr
        assert why in answer.stderr
    assert measured(run.path) == []
    assert world.recbench("score", run.id).returncode == 0


READER = """
import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar


def closed(path):
    try:
        Path(path).read_bytes()
    except OSError as error:
        return type(error).__name__ == "PermissionError"
    return False


@dataclass(kw_only=True)
class Odd:
    version: ClassVar[int] = 1

    def of_ranks(self, ranks, k):
        try:
            Path(os.environ["HIDDEN"]).write_text("found")
        except OSError:
            pass
        return float(closed(os.environ["TARGETS"]))
"""


def test_a_metric_reads_no_targets_and_writes_nothing(
    world: World, package: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package("lantern", GROUP + "odd = lantern:Odd\n", READER)
    (planned,) = world.plan("popularity")
    (run,) = world.run("popularity")
    monkeypatch.setenv("TARGETS", str(planned.split.folder / "targets_test.npz"))
    monkeypatch.setenv("HIDDEN", str(tmp_path / "hidden"))
    (found,) = scored(world, run.id, "--k", "10", "--metric", "odd")["outside"]
    assert found["values"]["10"] == {"mean": 1.0, "low": None, "high": None}
    assert not (tmp_path / "hidden").exists()


def test_a_record_that_was_changed_is_refused_by_name(example: World) -> None:
    (run,) = example.run("popularity")
    scored(example, run.id, "--k", "10", "--metric", "rbp")
    (file,) = (run.path / "measured").glob("*.json")
    verified = example.recbench("verify", run.id, "--users", "0")
    assert "not checked: rbp[persistence=0.8] of my-extensions 0.1.0" in verified.stdout
    record = json.loads(file.read_text())
    record["values"]["10"]["mean"] += 0.1
    file.write_text(json.dumps(record))
    with pytest.raises(DigestError, match="has changed since it was measured") as caught:
        measured(run.path)
    assert "recbench score" in caught.value.fix
    assert example.recbench("leaderboard", "build").returncode == 4
    assert example.recbench("verify", run.id, "--users", "0").returncode == 5


def test_the_reserved_names_are_those_of_recbenchs_metrics() -> None:
    assert sorted(RESERVED) == sorted(terms.metric_names())


def test_names_that_are_no_metric_of_another_package_are_refused(example: World) -> None:
    (run,) = example.run("popularity")
    own = example.recbench("score", run.id, "--metric", "ndcg@10")
    assert (own.returncode, "is a metric of recbench" in own.stderr) == (2, True)
    near = example.recbench("score", run.id, "--metric", "novelti")
    assert (near.returncode, "did you mean 'novelty'" in near.stderr) == (2, True)
    deep = example.recbench("score", run.id, "--k", "99", "--metric", "rbp")
    assert deep.returncode == 2
    assert example.recbench("score", run.id, "--metric", "rbp:persistence=1").returncode == 2
