"""What packages bring is listed and shown with its package, and a broken one hides nothing else."""

from __future__ import annotations

import json
import sys

import pytest

from recbench.base.environment import DISTRIBUTION
from recbench.base.extensions import points
from recbench.planning.plugins import extensions
from recbench.reference import names
from tests.conftest import World
from tests.unit.extend.conftest import Package

BROUGHT = {
    "sampler": "matched",
    "identifier": "place-digits",
    "ranker": "less-popular",
    "metric": "novelty",
    "format": "sequences",
}


@pytest.mark.parametrize(("kind", "name"), BROUGHT.items())
def test_each_kind_is_listed_and_shown_with_its_package_and_not_imported(
    example: World, kind: str, name: str
) -> None:
    rows = json.loads(example.recbench("list", f"{kind}s", "--json").stdout)
    whose = {row["name"]: row["from"] for row in rows}
    assert whose[name] == "my-extensions"
    assert DISTRIBUTION in whose.values()
    shown = json.loads(example.recbench("show", name, "--json").stdout)
    assert (shown["kind"], shown["facts"]["from"], shown["facts"]["version"]) == (kind, "my-extensions", 1)
    assert name in names.known(example.root)
    assert "my_extensions" not in sys.modules


def test_every_parameter_of_recbenchs_samplers_says_what_it_means() -> None:
    own = [name for name, point in points.available("sampler").items() if points.is_own(point)]
    parameters = [(name, one) for name in own for one in extensions.describe("sampler", name).details]
    assert [f"{name}:{one.name}" for name, one in parameters if not one.meaning] == []


def test_a_broken_package_is_a_line_of_the_lists_and_a_warning_of_the_doctor(
    example: World, package: Package
) -> None:
    groups = "".join(f"[{group}]\nndcg2 = lantern:Thing\n" for group in points.GROUPS.values())
    package("lantern", groups, "import no_such_module\n")
    for kind in BROUGHT:
        rows = json.loads(example.recbench("list", f"{kind}s", "--json").stdout)
        (line,) = [row["about"] for row in rows if row["name"] == "ndcg2"]
        assert "No module named 'no_such_module'; try: fix lantern:Thing" in line
        assert BROUGHT[kind] in {row["name"] for row in rows}
    findings = {one["name"]: one for one in json.loads(example.recbench("doctor", "--json").stdout)}
    assert findings["plugins"]["status"] == "warning"
    for noun in ("method", "sampler of negatives", "ranker", "identifier scheme", "metric", "raw format"):
        assert f"{noun} 'ndcg2' of lantern: " in findings["plugins"]["found"]
    assert example.recbench("plan", "-m", "popularity", "-d", "toy").returncode == 0
    assert example.recbench("show", "sdpo").returncode == 0
