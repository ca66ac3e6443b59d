"""Per-user files: what `score --per-user` writes, and files of others compared with each other."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from recbench.comparison.compare import compare
from recbench.errors import DataError, DigestError, RecbenchError, UsageError
from recbench.exchange.per_user_comparison import compare_files
from recbench.exchange.per_user_file import read, write
from recbench.results.bundle import Bundle

MakeBundle = Callable[..., Bundle]


def foreign(path: Path, values: dict[str, float], *, metric: str = "ndcg@10") -> Path:
    path.write_text(f"user,{metric}\n" + "".join(f"{user},{value}\n" for user, value in values.items()))
    return path


def runs(make_bundle: MakeBundle, method: str, seeds: int) -> list[Bundle]:
    rng = np.random.default_rng(len(method))
    return [make_bundle(method, rng.integers(0, 9, 60).tolist(), seed=seed) for seed in range(seeds)]


def test_a_file_has_a_line_for_each_run_and_user(make_bundle: MakeBundle, tmp_path: Path) -> None:
    one = make_bundle("ilrec", [1, 3, 0], seed=4)
    assert write(tmp_path / "one.csv", [one], [1, 5]) == 3
    with (tmp_path / "one.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["user"] for row in rows] == ["u0", "u1", "u2"]
    assert [row["rank"] for row in rows] == ["1", "3", "0"]
    assert [float(row["ndcg@5"]) for row in rows] == [1.0, 0.5, 0.0]  # 1 / log2(3 + 1)
    assert {(row["run"], row["method"], row["dataset"], row["protocol"], row["seed"]) for row in rows} == {
        (one.id, "ilrec", "toy", "ilrec", "4")
    }


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_files_of_runs_give_the_comparison_of_the_runs(
    make_bundle: MakeBundle, tmp_path: Path, suffix: str
) -> None:
    a, b = (runs(make_bundle, method, 3) for method in ("ilrec", "sasrec"))
    paths = [tmp_path / f"{name}.{suffix}" for name in "ab"]
    for path, side in zip(paths, (a, b), strict=True):
        write(path, side, [10])
    family = compare_files([read(path, "ndcg@10") for path in paths], "ndcg@10")
    [found] = family.comparisons
    expected = compare(a, b, "ndcg@10")
    assert (found.a, found.b, found.seeds_a) == ("ilrec", "sasrec", (0, 1, 2))
    assert (found.difference, found.low, found.high, found.p) == pytest.approx(
        (expected.difference, expected.low, expected.high, expected.p)
    )
    assert found.scope == expected.scope == "methods"
    assert {one.letters for one in family.standings} <= {"a", "b"}


def test_users_that_one_file_lacks_are_left_out_with_a_sentence(tmp_path: Path) -> None:
    a = foreign(tmp_path / "a.csv", {"x": 1.0, "y": 0.5, "z": 0.0, "only": 1.0})
    b = foreign(tmp_path / "b.csv", {"z": 0.5, "y": 0.5, "x": 0.5})
    [found] = compare_files([read(path, "ndcg@10") for path in (a, b)], "ndcg@10").comparisons
    assert (found.num_users, found.mean_a, found.mean_b) == (3, 0.5, 0.5)
    assert (found.wins, found.ties, found.losses) == (1, 1, 1)
    assert "1 of 4 users of a are left out, as not every file and seed has them: only" in found.notes


def test_files_without_users_in_common_or_of_other_data_are_refused(
    make_bundle: MakeBundle, tmp_path: Path
) -> None:
    a = foreign(tmp_path / "a.csv", {"x": 1.0, "y": 0.5})
    b = foreign(tmp_path / "b.csv", {"v": 0.5, "w": 0.5})
    with pytest.raises(DigestError, match="0 users in common"):
        compare_files([read(path, "ndcg@10") for path in (a, b)], "ndcg@10")
    for dataset in ("toy", "other"):
        write(tmp_path / f"{dataset}.csv", [make_bundle("sft", [1, 2], dataset=dataset)], [10])
    files = [read(tmp_path / f"{dataset}.csv", "ndcg@10") for dataset in ("toy", "other")]
    with pytest.raises(DigestError, match="differ in the dataset"):
        compare_files(files, "ndcg@10")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("user,hr@10\nx,1\n", "no column ndcg@10"),
        ("name,ndcg@10\nx,1\n", "no column user"),
        ("", "no column user or ndcg@10"),
        ("user,ndcg@10\n", "there is no user in it"),
        ("user,ndcg@10\nx,1\nx,0\n", "line 3: user 'x' is twice"),
        ("user,ndcg@10\nx,nan\n", "line 2: ndcg@10 is 'nan', which is no number"),
        ("user,ndcg@10\nx,\n", "line 2: ndcg@10 is ''"),
        ("user,ndcg@10\nx\n", "line 2: it has not as many cells as the head"),
        ("user,seed,ndcg@10\nx,one,1\n", "line 2: seed 'one' is no whole number"),
        ("user,method,ndcg@10\nx,a,1\ny,b,1\n", "line 3: method is 'b', and 'a' before"),
        ("user,method,ndcg@10\nx,a,1\nx,b,1\n", "line 3: method is 'b', and 'a' before"),
    ],
)
def test_a_file_that_cannot_be_compared_is_said_by_its_line(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read(path, "ndcg@10")
    assert sentence in str(caught.value)


def test_a_broken_parquet_file_and_another_suffix_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_text("no table")
    with pytest.raises(DataError, match="is no Parquet file"):
        read(path, "ndcg@10")
    with pytest.raises(UsageError, match="none of the suffixes"):
        write(tmp_path / "a.xlsx", [], [10])


def test_files_of_one_method_are_named_by_the_file_and_a_missing_seed_is_one_fit(tmp_path: Path) -> None:
    paths = [tmp_path / "a.csv", tmp_path / "b.csv"]
    for path, value in zip(paths, (1, 0), strict=True):
        path.write_text(f"user,method,hr@10\nx,mine,{value}\ny,mine,1\nz,mine,0\n")
    [found] = compare_files([read(path, "hr@10") for path in paths], "hr@10").comparisons
    assert (found.a, found.b) == (str(paths[0]), str(paths[1]))
    assert (found.seeds_a, found.scope) == ((None,), "methods")
    assert "exact McNemar" in found.other_p
    with pytest.raises(RecbenchError, match="cannot be compared with itself"):
        compare_files([read(paths[0], "hr@10")] * 2, "hr@10")
