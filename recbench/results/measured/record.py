"""What a metric of another package gave for a finished run: a file of its own in the bundle's folder.

The bundle is sealed before and does not name it. `measured/NAME-DIGEST.json` says whose metric it is, of
which version and code, and of which manifest. It can be read without the package.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from recbench.base import digest
from recbench.base.files import read_plain, write_text
from recbench.base.params import as_text
from recbench.errors import DigestError
from recbench.results.bundle import MANIFEST

FOLDER = "measured"
SEAL = "seal"
RESERVED = frozenset(
    (
        *("hr", "ndcg", "mrr", "recall"),
        *("coverage", "gini", "popularity", "popularity_lift", "diversity", "invalid"),
        *("dgu", "mgu", "dgu_pop", "mgu_pop", "div_ratio", "or_ratio"),
        *("word_entropy", "ttr", "distinct_titles", "seen"),
    )
)
"""The names of recbench's own metrics, which no other package's metric has on a board."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredValue:
    """At one cut-off. A value of all lists together has no interval."""

    mean: float
    low: float | None = None
    high: float | None = None
    """Of the 95 % interval over users."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsideMetric:
    """A metric of another package for one run."""

    metric: str
    parameters: Mapping[str, Any]
    of: str
    """`ranks` or `lists`."""
    version: int
    distribution: str
    release: str
    """The version of the distribution."""
    code: str
    """The sha256 of the metric's code."""
    manifest: str
    """The sha256 of the run's manifest."""
    values: Mapping[str, MeasuredValue]
    """By cut-off."""

    @property
    def label(self) -> str:
        """`rbp`, or `rbp[persistence=0.9]` with all parameters."""
        inside = ",".join(f"{key}={as_text(value)}" for key, value in self.parameters.items())
        return f"{self.metric}[{inside}]" if inside else self.metric

    @property
    def whose(self) -> str:
        """Package, version and code, in words."""
        return f"{self.distribution} {self.release}, version {self.version}, code {digest.short(self.code)}"

    def write(self, run: Path) -> Path:
        """The file, in the bundle's folder `run`; an earlier one of the same metric is replaced."""
        content = asdict(self)
        key = digest.short(digest.of_json([self.distribution, self.label]))
        path = run / FOLDER / f"{self.metric}-{key}.json"
        path.parent.mkdir(exist_ok=True)
        sealed = {**content, SEAL: digest.of_json(content)}
        write_text(path, json.dumps(sealed, indent=1, sort_keys=True, allow_nan=False) + "\n")
        return path

    @classmethod
    def read(cls, path: Path) -> Self:
        """DigestError where the file is not as it was written, or belongs to another manifest."""
        try:
            record = json.loads(read_plain(path))
            seal = record.pop(SEAL)
            values = {name: MeasuredValue(**value) for name, value in record["values"].items()}
            found = cls(**{**record, "values": values})
            for_manifest = digest.of_file(path.parent.parent / MANIFEST)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise _changed(path, f"{type(error).__name__}: {error}") from error
        if seal != digest.of_json(record):
            raise _changed(path, "its content is not what its seal says")
        if found.manifest != for_manifest:
            raise _changed(path, "it was measured on another result of the run")
        return found


def measured(run: Path) -> Sequence[OutsideMetric]:
    """What is recorded in the bundle's folder `run`, by file name."""
    return [OutsideMetric.read(path) for path in files_of(run)]


def files_of(run: Path) -> list[Path]:
    return sorted((run / FOLDER).glob("*.json"))


def _changed(path: Path, why: str) -> DigestError:
    return DigestError(
        f"{path} has changed since it was measured",
        why=why,
        fix=f"remove it, and measure again: recbench score {path.parent.parent.name} --metric NAME",
    )
