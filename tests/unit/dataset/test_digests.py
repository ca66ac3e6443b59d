"""What the digests of a split cover, what leaves them alone, and `verify`, which compares them."""

from __future__ import annotations

import gzip
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from recbench.dataset.card import DatasetCard
from recbench.dataset.prepare import verify
from recbench.dataset.split import PreparedSplit
from recbench.errors import DigestError
from tests.unit.dataset.conftest import (
    CLEAN,
    EVENTS,
    PROTOCOL,
    amazon_card,
    made,
    normalised_card,
    write_amazon,
    write_card,
    write_normalised,
)

DIGESTS = """
import json, locale, os, sys
from dataclasses import replace
from pathlib import Path
from recbench.dataset.card import parse
from recbench.dataset.prepare import prepare, verify
from recbench.protocol import get_protocol
locale.setlocale(locale.LC_ALL, "")
card = parse(Path(sys.argv[1]).read_bytes(), path=sys.argv[1])
rules = replace(get_protocol(sys.argv[3]), depth=3, list_length=None)
print(json.dumps(prepare(card, rules, cache=Path(sys.argv[2]), data_dir=None).digests))
"""


@pytest.mark.parametrize("protocol", ["ilrec", "temporal", "soft"])
def test_neither_locale_nor_hash_seed_nor_the_order_of_rows_changes_a_digest(
    tmp_path: Path, protocol: str
) -> None:
    rng = random.Random(2)
    ids = [f"i{n}" for n in range(12)] + ["Äpfel", "äpfel", "zebra", "Zebra", "ı", "I"]
    rows = [(f"u{u}", item, 0, rng.randrange(400)) for u in range(40) for item in rng.sample(ids, 8)]
    digests = []
    for number, (environ, order) in enumerate(
        (
            ({"LC_ALL": "C", "PYTHONHASHSEED": "1"}, rows),
            ({"LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "2", "TZ": "Asia/Tokyo"}, rows[::-1]),
        )
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        write_normalised(folder / "clean", order)
        with gzip.open(folder / "clean" / "items.csv.gz", "wt", encoding="utf-8") as stream:
            stream.write("item_id,title,categories\n")
            stream.writelines(f"{item},{item.title()},\n" for item in (ids if number else ids[::-1]))
        done = subprocess.run(
            [sys.executable, "-c", DIGESTS, str(write_card(folder)), str(folder / "cache"), protocol],
            env={**os.environ, **environ},
            capture_output=True,
            text=True,
            check=True,
        )
        digests.append(json.loads(done.stdout))
    assert {key for key in digests[0] if digests[0][key] != digests[1][key]} == {"raw"}


def test_shuffled_rows_change_no_digest_beyond_raw(tmp_path: Path) -> None:
    write_amazon(tmp_path / "raw", EVENTS)
    before = made(amazon_card(tmp_path / "raw"), tmp_path / "cache").digests
    write_amazon(tmp_path / "raw", random.Random(1).sample(EVENTS, len(EVENTS)))
    after = made(amazon_card(tmp_path / "raw"), tmp_path / "cache").digests
    assert {key for key in before if before[key] != after[key]} == {"raw"}


def test_each_digest_covers_the_ones_before_it(tmp_path: Path) -> None:
    """Exchange u1's last two items: the log changes, and with it all that follows."""
    folder = tmp_path / "clean"
    write_normalised(folder, CLEAN)
    before = made(normalised_card(folder), tmp_path / "cache").digests
    write_normalised(folder, [("u1", "B3", 1, 20), ("u1", "B2", 2, 30), CLEAN[0], *CLEAN[3:]])
    after = made(normalised_card(folder), tmp_path / "cache").digests
    assert not set(before.values()) & set(after.values())


@pytest.mark.parametrize("old_new", [("u1", "u0"), (30, 31)])
def test_another_name_or_time_changes_the_chain_though_the_order_stays(
    tmp_path: Path, old_new: tuple[object, object]
) -> None:
    folder = tmp_path / "clean"
    old, new = old_new
    write_normalised(folder, CLEAN)
    before = made(normalised_card(folder), tmp_path / "cache")
    write_normalised(folder, [tuple(new if cell == old else cell for cell in row) for row in CLEAN])  # type: ignore[misc]  # the cell keeps its type
    after = made(normalised_card(folder), tmp_path / "cache")
    assert not set(before.digests.values()) & set(after.digests.values())
    for name in ("training.npz", "targets_test.npz"):
        assert (before.folder / name).read_bytes() == (after.folder / name).read_bytes()


def test_another_title_changes_the_catalogue_but_not_the_split(tmp_path: Path) -> None:
    folder = tmp_path / "clean"
    write_normalised(folder, CLEAN)
    before = made(normalised_card(folder), tmp_path / "cache").digests
    items = gzip.decompress((folder / "items.csv.gz").read_bytes())
    (folder / "items.csv.gz").write_bytes(gzip.compress(items.replace(b"Three", b"Four")))
    after = made(normalised_card(folder), tmp_path / "cache").digests
    assert {key for key in before if before[key] != after[key]} == {"raw", "catalogue"}


def verified(card: DatasetCard, cache: Path) -> PreparedSplit:
    return verify(card, PROTOCOL, cache=cache, data_dir=None)


def test_verify_makes_the_split_again_and_compares(tmp_path: Path) -> None:
    write_normalised(tmp_path / "clean", CLEAN)
    card = normalised_card(tmp_path / "clean")
    split = verified(card, tmp_path / "cache")
    assert verified(card, tmp_path / "cache") == split
    path = split.folder / "split.json"
    path.write_text(path.read_text().replace(split.digests["split"], "0" * 64))
    with pytest.raises(DigestError, match="is not what its raw files give") as refused:
        verified(card, tmp_path / "cache")
    assert f"from the raw files {split.digests['split']}" in str(refused.value)


def test_verify_checks_every_file(tmp_path: Path) -> None:
    write_normalised(tmp_path / "clean", CLEAN)
    card = normalised_card(tmp_path / "clean")
    folder = verified(card, tmp_path / "cache").folder
    (folder / "targets_test.npz").write_bytes((folder / "valid.npz").read_bytes())
    with pytest.raises(DigestError, match=r"targets_test\.npz has changed"):
        verified(card, tmp_path / "cache")
