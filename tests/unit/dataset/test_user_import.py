"""A raw log becomes a dataset of a user's own: files and a card, or nothing at all."""

from __future__ import annotations

import gzip
import os
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recbench.base.progress import Silent
from recbench.dataset import card as cards
from recbench.dataset.export import export
from recbench.dataset.prepare import prepare
from recbench.dataset.sources import READERS
from recbench.dataset.sources.raw import ItemText, RawLog
from recbench.dataset.split import load_training
from recbench.dataset.user_import import published, warnings
from recbench.errors import DataError, MissingError, RecbenchError, UsageError
from recbench.protocol import get_protocol


def made_log(num_users: int = 25) -> RawLog:
    rng = np.random.default_rng(0)
    rows = [
        (f"u{u}", f"i{i}", 1000 * u + n)
        for u in range(num_users)
        for n, i in enumerate(rng.permutation(30)[:6])
    ]
    return RawLog(
        user_ids=[user for user, _, _ in rows],
        item_ids=[item for _, item, _ in rows],
        timestamps=np.array([at for _, _, at in rows]),
        positions=None,
        items={f"i{item}": ItemText(f'"Song" {item // 2}' if item else "", "") for item in range(30)},
        counts={"repeated_items": 0},
    )


def publishing(
    raw: RawLog, tmp_path: Path, name: str = "songs", *, core: int = 0, force: bool = False
) -> AbstractContextManager[Path]:
    return published(
        raw,
        name=name,
        title='My "songs"\x7f' + os.fsdecode(b"\xff"),
        noun="song",
        core=core,
        origin=[Path(os.fsdecode(b"pl\xffys.csv"))],
        data=tmp_path / "data",
        root=tmp_path,
        force=force,
    )


def write(raw: RawLog, tmp_path: Path, name: str = "songs", *, core: int = 0, force: bool = False) -> Path:
    with publishing(raw, tmp_path, name, core=core, force=force) as card:
        return card


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def break_while_published(raw: RawLog, tmp_path: Path, by: BaseException, *, force: bool = False) -> None:
    before = content(tmp_path)
    with publishing(raw, tmp_path, force=force):
        assert content(tmp_path) != before
        raise by


def later(raw: RawLog) -> RawLog:
    assert raw.timestamps is not None
    return replace(raw, timestamps=raw.timestamps + 1)


def test_an_error_while_a_set_is_published_takes_it_back(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        break_while_published(made_log(), tmp_path, KeyboardInterrupt())
    assert content(tmp_path) == {}


def test_an_error_while_a_set_is_replaced_leaves_the_old_one(tmp_path: Path) -> None:
    write(made_log(), tmp_path)
    before = content(tmp_path)
    with pytest.raises(DataError):
        break_while_published(later(made_log()), tmp_path, DataError("too few items"), force=True)
    assert content(tmp_path) == before
    write(later(made_log()), tmp_path, force=True)
    assert content(tmp_path).keys() == before.keys()
    assert content(tmp_path) != before


@pytest.mark.parametrize("force", [False, True])
def test_a_folder_that_was_not_imported_is_never_replaced(tmp_path: Path, force: bool) -> None:
    raw = tmp_path / "data" / "songs"
    raw.mkdir(parents=True)
    (raw / "interactions.csv.gz").write_text("the only copy")
    with pytest.raises(UsageError, match="try: another --name"):
        write(made_log(), tmp_path, force=force)
    assert content(tmp_path) == {"data/songs/interactions.csv.gz": b"the only copy"}


def test_what_was_put_beside_an_imported_set_keeps_it_from_being_replaced(tmp_path: Path) -> None:
    write(made_log(), tmp_path)
    (tmp_path / "data" / "songs" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"holds notes\.txt"):
        write(made_log(), tmp_path, force=True)


def test_a_card_that_only_mentions_imports_is_not_replaced(tmp_path: Path) -> None:
    card = write(made_log(), tmp_path)
    mine = card.read_text().replace('fix = "recbench data import', 'fix = "not recbench data import')
    card.write_text(mine)
    with pytest.raises(UsageError, match="is not an imported dataset's card"):
        write(made_log(), tmp_path, force=True)
    assert card.read_text() == mine


def test_what_was_filled_in_on_a_card_outlives_the_next_import(tmp_path: Path) -> None:
    card = write(made_log(), tmp_path)
    filled = card.read_text().replace('citation = ""', 'citation = "Me 2020"')
    card.write_text(filled.replace("used_by = []", 'used_by = ["a paper"]'))
    write(later(made_log()), tmp_path, force=True)
    again = cards.find("songs", tmp_path)
    assert (again.citation, again.used_by) == ("Me 2020", ("a paper",))


def test_an_empty_folder_takes_no_name(tmp_path: Path) -> None:
    (tmp_path / "data" / "songs").mkdir(parents=True)
    assert write(made_log(), tmp_path).is_file()


def test_an_imported_file_that_was_changed_is_not_what_its_card_describes(tmp_path: Path) -> None:
    write(made_log(), tmp_path)
    card = cards.find("songs", tmp_path)
    path = tmp_path / "data" / "songs" / "interactions.csv.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b",1000\n", b",9\n")))
    with pytest.raises(DataError, match="is not the file that card 'songs' describes") as refused:
        prepare(card, get_protocol("ilrec"), cache=tmp_path / "cache", data_dir=tmp_path / "data")
    assert refused.value.fix.startswith("recbench data import ... --name songs --force")


@pytest.mark.parametrize(("tenths", "ticks"), [([1, 2, 0, 5, 4, 3], 1000), ([10, 20, 0, 50, 40, 30], 1)])
def test_moments_within_a_second_keep_their_order(tmp_path: Path, tenths: list[int], ticks: int) -> None:
    raw = made_log()
    times = np.array(tenths * 25) * 100 + 1_600_000_000_000  # milliseconds, the same six for every user
    write(replace(raw, timestamps=times, ticks=1000), tmp_path)
    card = cards.find("songs", tmp_path)
    assert card.sources[0].ticks == ticks
    split = prepare(card, get_protocol("ilrec"), cache=tmp_path / "cache", data_dir=tmp_path / "data")
    data = load_training(split.folder)
    chosen = [raw.item_ids[place] for place in np.argsort(tenths)]  # of the first user
    assert [data.catalogue.item_ids[item] for item in data.sequences[0]] == chosen[:4]
    assert split.statistics.tied_targets == {"valid": 0, "test": 0}
    assert split.statistics.time_range == ["2020-09-13", "2020-09-13"]


def test_an_imported_set_is_the_log_it_was_made_of(tmp_path: Path) -> None:
    raw = made_log()
    assert write(raw, tmp_path) == tmp_path / "datasets" / "songs.toml"
    card = cards.find("songs", tmp_path)
    assert (card.title, card.noun) == ('My "songs"\x7f\ufffd', "song")
    assert card.notes == ("Imported from pl\ufffdys.csv.",)
    folder = tmp_path / "data" / "songs"
    paths = {part: folder / file.name for part, file in card.sources[0].files.items()}
    again = READERS["normalised"](card.sources[0], paths, report=Silent())
    assert (list(again.user_ids), list(again.item_ids)) == (raw.user_ids, raw.item_ids)
    assert again.timestamps is not None
    assert raw.timestamps is not None
    assert again.timestamps.tolist() == raw.timestamps.tolist()
    assert again.items == raw.items
    split = prepare(card, get_protocol("ilrec"), cache=tmp_path / "cache", data_dir=tmp_path / "data")
    assert load_training(split.folder).catalogue.titles[1] == '"Song" 0'
    lines = warnings(split.statistics)
    assert "1 of 30 items have no title, which the title and hybrid paradigms need" in lines
    assert "14 items with the title of another item" in lines  # 0; 1 2: 14 pairs less the untitled one's


def test_quoted_titles_are_exported_as_pandas_and_so_recbole_read_them(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    write(made_log(), tmp_path)
    protocol = get_protocol("ilrec")
    card = cards.find("songs", tmp_path)
    split = prepare(card, protocol, cache=tmp_path / "cache", data_dir=tmp_path / "data")
    export(split, tmp_path / "out", form="atomic", protocol=protocol)
    table = pandas.read_csv(tmp_path / "out" / "songs.item", sep="\t", keep_default_na=False)
    assert tuple(table["title:token_seq"]) == load_training(split.folder).catalogue.titles
    assert table["title:token_seq"][1] == '"Song" 0'


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    folders = []
    for name in ("one", "two"):
        write(made_log(), tmp_path, name)
        folders.append(tmp_path / "data" / name)
    for file in ("interactions.csv.gz", "items.csv.gz"):
        assert (folders[0] / file).read_bytes() == (folders[1] / file).read_bytes()


@pytest.mark.parametrize(("core", "name"), [(99, "songs"), (0, "My Songs"), (0, "../songs")])
def test_a_refused_import_leaves_nothing(tmp_path: Path, core: int, name: str) -> None:
    with pytest.raises(RecbenchError):
        write(made_log(), tmp_path, name, core=core)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(MissingError, match="cannot be written to") as refused:
        write(made_log(), tmp_path)
    assert "RECBENCH_DATA" in refused.value.fix
    assert not (tmp_path / "datasets").exists()
