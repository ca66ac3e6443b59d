"""What `prepare` refuses, and that a refusal leaves nothing behind."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from recbench.dataset.card import Filter
from recbench.dataset.prepare import prepare
from recbench.errors import CheckError, DataError, MissingError, UsageError
from recbench.protocol import get_protocol
from tests.unit.dataset.conftest import CLEAN, made, normalised_card, write_card, write_normalised


def test_unexpected_statistics_are_refused_with_expected_and_got(tmp_path: Path) -> None:
    write_normalised(tmp_path / "clean", CLEAN[:-1])
    card = dataclasses.replace(normalised_card(tmp_path / "clean"), filter=Filter())
    with pytest.raises(CheckError) as refused:
        made(card, tmp_path / "cache")
    assert refused.value.exit_code == 5
    assert "users: expected 3, got 2" in str(refused.value)
    assert "interactions: expected 9, got 6" in str(refused.value)
    assert not (tmp_path / "cache").exists()


def test_a_log_with_nothing_left_names_its_file(tmp_path: Path) -> None:
    write_normalised(tmp_path / "clean", CLEAN[:2])
    with pytest.raises(DataError, match=r"interactions\.csv\.gz: no interaction is left"):
        made(normalised_card(tmp_path / "clean"), tmp_path / "cache")


def test_a_set_with_fewer_items_than_are_ranked_is_refused(tmp_path: Path) -> None:
    write_normalised(tmp_path / "clean", CLEAN)
    with pytest.raises(DataError, match="dataset 'tiny': 3 items are fewer than the 20 that are ranked"):
        prepare(
            normalised_card(tmp_path / "clean"),
            get_protocol("ilrec"),
            cache=tmp_path / "cache",
            data_dir=None,
        )
    assert not (tmp_path / "cache").exists()


def test_another_log_than_the_source_promises_is_refused(tmp_path: Path) -> None:
    """The counts are the same, the order of u1's last two items is not."""
    write_normalised(tmp_path / "clean", CLEAN)
    card = normalised_card(tmp_path / "clean")
    log = made(card, tmp_path / "cache").digests["log"]
    promised = dataclasses.replace(card, sources=(dataclasses.replace(card.sources[0], log=log),))
    assert made(promised, tmp_path / "cache").digests["log"] == log
    write_normalised(tmp_path / "clean", [("u1", "B3", 1, 20), ("u1", "B2", 2, 30), CLEAN[0], *CLEAN[3:]])
    with pytest.raises(CheckError, match=f"the card says {log}"):
        made(promised, tmp_path / "cache")


def test_a_limit_below_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="leaves nobody"):
        made(normalised_card(tmp_path), tmp_path / "cache", limit=0)


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    write_normalised(tmp_path / "clean", CLEAN)
    (tmp_path / "cache").write_text("a file, not a folder")
    with pytest.raises(MissingError, match=f"cannot be written to {tmp_path}/cache/split") as refused:
        made(normalised_card(tmp_path / "clean"), tmp_path / "cache")
    assert refused.value.exit_code == 3


FULL_DISK = """
import resource, sys
from dataclasses import replace
from pathlib import Path
from recbench.dataset.card import parse
from recbench.errors import MissingError
from recbench.dataset.prepare import prepare, verify
from recbench.protocol import get_protocol
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
card = parse(Path(sys.argv[1]).read_bytes(), path=sys.argv[1])
try:
    prepare(card, replace(get_protocol("ilrec"), depth=3), cache=Path(sys.argv[2]), data_dir=None)
except MissingError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
def test_a_disk_without_room_is_named_and_nothing_half_written_stays(tmp_path: Path) -> None:
    write_normalised(tmp_path / "clean", CLEAN)
    arguments = [str(write_card(tmp_path)), str(tmp_path / "cache")]
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, *arguments], capture_output=True, text=True, check=True
    )
    assert f"cannot be written to {tmp_path}/cache/split" in done.stdout
    assert not list((tmp_path / "cache" / "split").iterdir())
