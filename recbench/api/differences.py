"""`recbench.compare`: differences between finished runs, with their intervals and tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from recbench.api.surroundings import Tabular
from recbench.base.words import plural
from recbench.protocol import PRIMARY_METRIC

if TYPE_CHECKING:
    import pandas as pd

    from recbench.comparison.across_datasets import Across
    from recbench.comparison.compare import Comparison
    from recbench.comparison.family import Family
    from recbench.comparison.sides import ScoredOn

NOT_IN_FRAME = ("other_p", "smallest_range", "seeds_a", "seeds_b", "notes")


@dataclass(frozen=True, repr=False)
class Differences(Tabular):
    """The comparisons of several methods, a family for each dataset."""

    families: Mapping[ScoredOn, Family]
    across: Across | None
    """The methods over all datasets that each ran on; None for fewer than two."""

    @property
    def comparisons(self) -> Sequence[Comparison]:
        """All pairs, the family of a dataset after the other."""
        return [one for family in self.families.values() for one in family.comparisons]

    def __repr__(self) -> str:
        pairs = [
            f"{plural(len(one.comparisons), 'pair')} on {data.dataset}" for data, one in self.families.items()
        ]
        return f"<Differences: {', '.join(pairs)}>"

    def to_frame(self) -> pd.DataFrame:
        """A row for each dataset and pair: a - b in `difference` with its 95 % interval `low` to `high`, `p`,
        `p_holm` over the family of the dataset, and the other facts of a comparison."""
        from recbench.api.surroundings import frame

        return frame(
            [
                {
                    "dataset": data.dataset,
                    **{key: value for key, value in asdict(one).items() if key not in NOT_IN_FRAME},
                }
                for data, family in self.families.items()
                for one in family.comparisons
            ]
        )

    def standings(self) -> pd.DataFrame:
        """A row for each dataset and method, best mean first; methods that share a letter do not differ
        beyond noise."""
        from recbench.api.surroundings import frame

        return frame(
            [
                {"dataset": data.dataset, **asdict(standing)}
                for data, family in self.families.items()
                for standing in family.standings
            ]
        )


def compare(
    *names: str,
    datasets: str | Sequence[str] | None = None,
    backbone: str | None = None,
    paradigm: str | None = None,
    protocol: str | None = None,
    metric: str = PRIMARY_METRIC,
    margin: float | None = None,
    reference: str | None = None,
    stratum: str = "all",
    root: str | Path | None = None,
) -> Differences:
    """Compare runs by their ids, or methods by their names on a board, as `recbench compare` does.

    A run's id names that run, a method all its finished seeds, `METHOD@BLOCK` those of one block; datasets,
    backbone, paradigm and protocol say which of a method's runs count. With a `margin` it is also tested
    whether the difference lies within it. DigestError where runs were not measured on the same data.
    """
    from recbench.api.sides import families
    from recbench.api.surroundings import left_out, root_of, texts
    from recbench.comparison.sides import Where, over_datasets

    where = Where(datasets=texts(datasets) or (), backbone=backbone, paradigm=paradigm, protocol=protocol)
    found = families(
        root_of(root),
        names,
        metric,
        where=where,
        margin=margin,
        reference=reference,
        stratum=stratum,
        left_out=left_out,
    )
    return Differences(found, over_datasets(found))
