from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from recbench.comparison.across_datasets import across
from recbench.comparison.critical_difference import SIDE, WIDTH, critical_difference
from recbench.errors import UsageError

SVG = "{http://www.w3.org/2000/svg}"


def test_methods_stand_at_their_average_ranks_and_a_bar_joins_the_ties() -> None:
    # ten sets: "a" always first; "b" and "<c>" take turns behind it
    turns = np.array([[0.3, 0.2 + 0.01 * (row % 2), 0.205 + 0.001 * row] for row in range(10)])
    found = across(["a", "b", "<c>"], turns)
    assert found.cliques == (("a",), ("b", "<c>")) or found.cliques == (("a",), ("<c>", "b"))
    drawn = ElementTree.fromstring(critical_difference(found))
    bars = [line for line in drawn.iter(f"{SVG}line") if line.get("stroke-width") == "4"]
    (bar,) = bars
    rank_of = dict(zip(found.names, found.average_ranks, strict=True))
    ends = sorted(SIDE + WIDTH * (3 - rank_of[name]) / 2 for name in ("b", "<c>"))
    assert float(bar.get("x1", "")) == pytest.approx(ends[0] - 4, abs=0.05)
    assert float(bar.get("x2", "")) == pytest.approx(ends[1] + 4, abs=0.05)
    texts = [text.text for text in drawn.iter(f"{SVG}text")]
    assert f"<c> {rank_of['<c>']:.2f}" in texts
    assert "a 1.00" in texts


def test_too_few_data_sets_give_no_diagram() -> None:
    with pytest.raises(UsageError, match="of 3 methods needs 7 sets"):
        critical_difference(across(["a", "b", "c"], np.random.default_rng(0).random((6, 3))))
