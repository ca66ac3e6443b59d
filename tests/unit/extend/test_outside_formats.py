"""Raw formats of other packages: read in a guarded child, and known by the digest of the log they give."""

from __future__ import annotations

import csv
import gzip
import json
import os
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from recbench.dataset import card as cards
from recbench.dataset.prepare import prepare
from recbench.dataset.split import PreparedSplit
from recbench.errors import DataError, RecbenchError
from recbench.protocol import get_protocol
from tests.conftest import World
from tests.unit.extend.conftest import Package

CARD = """
name = "lines"
title = "Made-up log"
noun = "thing"
citation = "none"
terms = "none"

[[sources]]
format = "{format}"
folder = "lines"

[sources.interactions]
name = "users.txt"

[sources.items]
name = "things.tsv"
"""


def write_lines(root: Path, format_: str, separator: str = " ") -> None:
    """The content of the set `toy` in lines, and its card."""
    raw = root / "raw"
    (raw / "lines").mkdir(exist_ok=True)
    sequences = defaultdict(list)
    with gzip.open(raw / "toy" / "interactions.csv.gz", "rt") as stream:
        for row in csv.DictReader(stream):
            sequences[row["user_id"]].append((int(row["position"]), row["item_id"]))
    lines = [separator.join([user, *(item for _, item in sorted(own))]) for user, own in sequences.items()]
    (raw / "lines" / "users.txt").write_text("\n".join(reversed(lines)) + "\n")
    with gzip.open(raw / "toy" / "items.csv.gz", "rt") as stream:
        things = ["\t".join(row.values()) for row in csv.DictReader(stream)]
    (raw / "lines" / "things.tsv").write_text("\n".join(things) + "\n")
    (root / "datasets" / "lines.toml").write_text(CARD.format(format=format_))


def prepared(world: World, name: str) -> PreparedSplit:
    return prepare(
        cards.find(name, world.root.path),
        get_protocol("ilrec"),
        cache=world.root.cache,
        data_dir=world.root.data_dir,
    )


def test_a_format_gives_the_log_that_the_same_content_gives_in_another(example: World) -> None:
    write_lines(example.root.path, "sequences:separator=;", ";")
    brought, own = prepared(example, "lines"), prepared(example, "toy")
    assert brought.source == "sequences:separator=;"
    for link in ("log", "split", "catalogue"):
        assert brought.digests[link] == own.digests[link]
    assert brought.digests["raw"] != own.digests["raw"]
    assert "my_extensions" not in sys.modules
    assert prepared(example, "lines").folder == brought.folder


def test_the_code_of_a_format_decides_which_split_is_used_again(world: World, package: Package) -> None:
    write_lines(world.root.path, "lines")
    place = package("lantern", GROUP + "lines = lantern:Lines\n", FORMAT.replace("BODY", GOOD))
    first = prepared(world, "lines")
    shorter = GOOD.replace("line.split()", "line.split()[:-1]")
    (place / "lantern.py").write_text(FORMAT.replace("BODY", shorter))
    second = prepared(world, "lines")
    assert first.digests["raw"] == second.digests["raw"]
    assert first.digests["log"] != second.digests["log"]
    assert first.folder != second.folder


GROUP = "[recbench.formats]\n"
FORMAT = """
import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar


@dataclass(kw_only=True)
class Lines:
    version: ClassVar[int] = 1

    def interactions(self, files):
BODY

    def items(self, files):
        for line in files["items"].open():
            yield tuple(line.rstrip("\\n").split("\\t"))
"""
GOOD = """
        for line in files["interactions"].open():
            user, *items = line.split()
            yield from ((user, item) for item in items)
"""
BROKEN: dict[str, tuple[str, str]] = {
    "raises": ("        raise RuntimeError('no luck')", "RuntimeError: no luck"),
    "exits": ("        os._exit(4)", "ended the process that reads (exit code 4)"),
    "numbers": ("        yield (1, 2)", "(1, 2) has something else than texts"),
    "long": ("        yield ('u', 'i', 3, 4)", "is no Interaction"),
    "half": ("        yield ('u', 'i', 3)\n        yield ('u', 'j')", "1 of 2 interactions have no time"),
    "late": ("        yield ('u', 'i', 10**14)", "is not a Unix time"),
    "nothing": ("        return iter(())", "no interaction is left after filtering"),
    "patches": (
        "        import recbench.dataset.sources.brought as b\n"
        "        b.leave = lambda folder, log: (folder / 'log.json').write_text('{}')\n" + GOOD,
        "what it leaves is no log",
    ),
    "forges": (
        "        import recbench.dataset.sources.brought as b, numpy as np\n"
        "        leave = b.leave\n"
        "        def forged(folder, log):\n"
        "            log.sequences.values[1] = log.sequences.values[0]\n"
        "            leave(folder, log)\n"
        "        b.leave = forged\n" + GOOD,
        "what it leaves is no log: a user has an item twice",
    ),
}


def test_a_broken_format_is_named_and_stops_no_other_set(world: World, package: Package) -> None:
    place = package("lantern", GROUP + "lines = lantern:Lines\n", "")
    write_lines(world.root.path, "lines")
    for name, (body, why) in BROKEN.items():
        (place / "lantern.py").write_text(FORMAT.replace("BODY", body))
        with pytest.raises(RecbenchError) as caught:
            prepared(world, "lines")
        assert why in f"{caught.value.what} {caught.value.why}", name
    assert prepared(world, "toy").statistics.users == 120


READER = """
        def closed(path):
            try:
                Path(path).read_bytes()
            except OSError as error:
                return type(error).__name__ == "PermissionError"
            return False
        try:
            Path(os.environ["HIDDEN"]).write_text("found")
        except OSError:
            pass
        assert closed(os.environ["TARGETS"]), "targets are open"
        assert closed(os.environ["OTHER"]), "another set's raw file is open"
"""


def test_a_format_reads_its_own_files_alone_and_writes_nothing_else(
    world: World, package: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package("lantern", GROUP + "lines = lantern:Lines\n", FORMAT.replace("BODY", READER + GOOD))
    write_lines(world.root.path, "lines")
    monkeypatch.setenv("TARGETS", str(prepared(world, "toy").folder / "targets_test.npz"))
    monkeypatch.setenv("OTHER", str(world.root.path / "raw" / "toy" / "items.csv.gz"))
    monkeypatch.setenv("HIDDEN", str(tmp_path / "hidden"))
    assert prepared(world, "lines").digests["log"] == prepared(world, "toy").digests["log"]
    assert not (tmp_path / "hidden").exists()


def test_a_card_whose_format_nobody_brings_stops_no_other(
    example: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_lines(example.root.path, "sequence")
    with pytest.raises(DataError, match="did you mean 'sequences'") as caught:
        cards.find("lines", example.root.path)
    assert "recbench list formats" in caught.value.fix
    without = [part for part in sys.path if "my-extensions" not in part and "example-site" not in part]
    monkeypatch.setattr(sys, "path", without)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(without))
    rows: list[dict[str, Any]] = json.loads(example.recbench("list", "datasets", "--json").stdout)
    assert {"lines", "toy"} <= {row["name"] for row in rows}
    assert example.recbench("plan", "-m", "popularity", "-d", "toy").returncode == 0
