"""Files with one line a user: metrics of finished runs for other tools, and of other tools for a comparison.

A table with the columns `user` and one for each metric, `seed` where several fits are in it, `request` where
users ask repeatedly (1 for a user's first), and others, as CSV or Parquet by the suffix of the file.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from recbench.errors import DataError, MissingError, UsageError
from recbench.results import metrics
from recbench.results.bundle import Bundle
from recbench.results.request_features import request_names, request_numbers

SUFFIXES = (".csv", ".parquet")
USER, SEED, REQUEST = "user", "seed", "request"
ABOUT = ("method", "dataset", "protocol", "phase")
"""Columns that hold one value in a file of one method on one dataset."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PerUser:
    """A metric of one method, for each seed and user."""

    file: Path
    about: Mapping[str, str]
    """What ABOUT columns say; those that the file lacks are missing."""
    values: Mapping[int | None, Mapping[str, float]]
    """By seed and request, which bears its user's name, with `#2` for the second. The seed is None in a file
    without that column, and in an empty cell."""
    user_of: Mapping[str, str]
    """By request."""


def is_table(text: str) -> bool:
    """Whether a word names a file of this kind rather than a run or a method."""
    return Path(text).suffix.lower() in SUFFIXES


def write(path: Path, runs: Sequence[Bundle], cutoffs: Sequence[int]) -> int:
    """One line for each run and request, with rank and metrics; return their number.

    UsageError for another suffix, MissingError where Parquet is asked for without pyarrow.
    """
    suffix = _suffix(path)
    names = [f"{name}@{cutoff}" for cutoff in cutoffs for name in metrics.GAINS]
    asked = (USER, REQUEST) if any(run.repeated for run in runs) else (USER,)
    columns: dict[str, list[Any]] = {name: [] for name in ("run", *ABOUT, SEED, *asked, "rank", *names)}
    for run in runs:
        spec, size = run.spec, len(run.users)
        same = {
            "run": run.id,
            "method": run.label,
            "dataset": spec.fit.dataset,
            "protocol": spec.protocol["name"],
            "phase": spec.phase,
            SEED: run.seed,
        }
        for name, value in same.items():
            columns[name] += [value] * size
        columns[USER] += [str(user) for user in run.users]
        if REQUEST in columns:
            columns[REQUEST] += request_numbers(run.users).tolist()
        columns["rank"] += run.ranks.tolist()
        for name in names:
            columns[name] += run.per_request(name).tolist()
    if suffix == ".parquet":
        _pyarrow("pyarrow.parquet").write_table(_pyarrow("pyarrow").table(columns), path)
    else:
        with path.open("w", encoding="utf-8", newline="") as stream:
            table = csv.writer(stream, lineterminator="\n")
            table.writerow(columns)
            table.writerows(zip(*columns.values(), strict=True))
    return len(columns[USER])


def read(path: Path, metric: str) -> PerUser:
    """The metric of each request and seed in a file.

    DataError, with the line, for a file without the columns `user` and the metric's, of several methods or
    datasets, with a request twice for one seed, or with a value that is no number.
    """
    values: dict[int | None, dict[str, float]] = {}
    user_of: dict[str, str] = {}
    about: dict[str, str] = {}
    for line, record in _records(path, metric):
        for name in ABOUT:
            text = record.get(name)
            if text not in (None, "") and about.setdefault(name, str(text)) != str(text):
                raise _wrong(
                    path,
                    line,
                    f"{name} is '{text}', and '{about[name]}' before",
                    fix="recbench score RUN ... --per-user FILE, with the runs of one method alone",
                )
        user, seed = str(record[USER]), _seed(record.get(SEED), path, line)
        of_seed = values.setdefault(seed, {})
        [request] = request_names([user], [_request(record.get(REQUEST, 1), path, line)])
        if request in of_seed or user_of.setdefault(request, user) != user:
            known = REQUEST in record
            raise _wrong(
                path,
                line,
                f"user '{user}' is twice in it" + (" with one request" if known else "") + _of_seed(seed),
                fix=""
                if known
                else f"number a user's requests in a column {REQUEST}, where it asks repeatedly",
            )
        of_seed[request] = _number(record[metric], path, line, metric)
    if not values:
        raise DataError(f"{path}: there is no user in it")
    return PerUser(file=path, about=about, values=values, user_of=user_of)


def _records(path: Path, metric: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Line and content of each row; the columns are checked first."""
    if _suffix(path) == ".parquet":
        try:
            table = _pyarrow("pyarrow.parquet").read_table(path)
        except (OSError, ValueError) as error:
            raise DataError(f"{path} is no Parquet file", why=str(error)) from None
        _check_columns(path, table.column_names, metric)
        yield from enumerate(table.to_pylist(), start=1)
        return
    with path.open(encoding="utf-8", newline="") as stream:
        rows = csv.DictReader(stream)
        try:
            _check_columns(path, rows.fieldnames or (), metric)
            for row in rows:
                if None in row or None in row.values():
                    raise _wrong(path, rows.line_num, "it has not as many cells as the head")
                yield rows.line_num, row
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataError(f"{path} is no CSV file", why=str(error)) from None


def _check_columns(path: Path, columns: Sequence[str], metric: str) -> None:
    missing = [name for name in (USER, metric) if name not in columns]
    if missing:
        known = [name for name in columns if "@" in name]
        raise DataError(
            f"{path} has no column {' or '.join(missing)}",
            why=f"columns: {', '.join(columns) or 'none'}",
            fix=f"--metric {known[0]}" if known and missing == [metric] else "",
        )


def _seed(value: Any, path: Path, line: int) -> int | None:
    if value in (None, ""):
        return None
    try:
        return int(value)
    except ValueError:
        raise _wrong(path, line, f"seed '{value}' is no whole number") from None


def _request(value: Any, path: Path, line: int) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = 0
    if number < 1:
        raise _wrong(path, line, f"{REQUEST} '{value}' is no number of a user's request, from 1 on")
    return number


def _number(value: Any, path: Path, line: int, metric: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise _wrong(path, line, f"{metric} is '{value}', which is no number")
    return number


def _of_seed(seed: int | None) -> str:
    return "" if seed is None else f" for seed {seed}"


def _wrong(path: Path, line: int, what: str, *, fix: str = "") -> DataError:
    return DataError(f"{path}, line {line}: {what}", fix=fix)


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"{path} has none of the suffixes {', '.join(SUFFIXES)}", fix=f"{path.stem}.csv")
    return suffix


def _pyarrow(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingError(
            "Parquet needs pyarrow, which is not installed",
            why=str(error),
            fix="pip install pyarrow, or a file that ends in .csv",
        ) from error
