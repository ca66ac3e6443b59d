"""From raw files to a split on disk: what is held out, what the digests cover, what is refused."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import importlib.metadata
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from recbench.data import Ragged
from recbench.dataset import card as cards
from recbench.dataset.card import DatasetCard, Expected, Filter, Format, RawFile, Source
from recbench.dataset.prepare import prepare, verify
from recbench.dataset.split import PreparedSplit, load_requests, load_targets, load_training, load_users
from recbench.errors import CheckError, DataError, DigestError, MissingError, UsageError
from recbench.protocol import get_protocol

PROTOCOL = dataclasses.replace(get_protocol("ilrec"), depth=3, cutoffs=(1, 3))
"""`ilrec` for sets of three items."""

# user, item, time; out of order, with a repeated pair (u2 B3), an item without metadata (B8), one
# without a title (B7), and a user with too few items (u4)
EVENTS = [
    ("u2", "B3", 40),
    ("u1", "B1", 10),
    ("u1", "B3", 30),
    ("u1", "B2", 20),
    ("u2", "B1", 10),
    ("u2", "B3", 20),
    ("u2", "B2", 30),
    ("u2", "B8", 35),
    ("u3", "B1", 10),
    ("u3", "B2", 10),
    ("u3", "B3", 10),
    ("u3", "B7", 99),
    ("u4", "B1", 10),
]
METADATA = [
    {"asin": "B1", "title": "Tom &amp; Jerry", "category": ["Games", "Retro"]},
    {"asin": "B2", "title": " Two\n words ", "category": []},
    {"asin": "B3", "title": "Three", "category": ["Games", "<span>x"]},
    {"asin": "B7", "category": []},
    {"asin": "B9", "title": "never bought", "category": []},
]


def write_amazon(folder: Path, events: list[tuple[str, str, int]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [json.dumps({"reviewerID": u, "asin": i, "unixReviewTime": t}) for u, i, t in events]
    rows.insert(2, '{"cut off')
    (folder / "reviews.json.gz").write_bytes(gzip.compress("\n".join(rows).encode()))
    metadata = "\n".join(json.dumps(row) for row in METADATA)
    (folder / "meta.json.gz").write_bytes(gzip.compress(metadata.encode()))


def write_normalised(folder: Path, interactions: list[tuple[str, str, int, int]]) -> None:
    """The clean form of the same data: no odd rows, chronological positions."""
    folder.mkdir(parents=True, exist_ok=True)
    items = [("B1", "Tom & Jerry", "Games > Retro"), ("B2", "Two words", ""), ("B3", "Three", "Games")]
    for name, header, rows in (
        ("interactions", ["user_id", "item_id", "position", "timestamp"], interactions),
        ("items", ["item_id", "title", "categories"], items),
    ):
        with gzip.open(folder / f"{name}.csv.gz", "wt", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(header)
            writer.writerows(rows)


CLEAN = [
    ("u1", "B1", 0, 10),
    ("u1", "B2", 1, 20),
    ("u1", "B3", 2, 30),
    ("u2", "B1", 0, 10),
    ("u2", "B3", 1, 20),
    ("u2", "B2", 2, 30),
    ("u3", "B1", 0, 10),
    ("u3", "B2", 1, 10),
    ("u3", "B3", 2, 10),
]


def amazon_card(folder: Path) -> DatasetCard:
    source = Source(
        format="amazon18",
        folder=str(folder),
        categories="category",
        interactions=RawFile(name="reviews.json.gz"),
        items=RawFile(name="meta.json.gz"),
    )
    return DatasetCard(
        name="tiny",
        title="Tiny",
        noun="game",
        citation="",
        terms="",
        sources=(source,),
        filter=Filter(core=3, titled_items=True),
        expect=Expected(users=3, items=3, interactions=9),
    )


def normalised_card(folder: Path) -> DatasetCard:
    source = Source(
        format="normalised",
        folder=str(folder),
        interactions=RawFile(name="interactions.csv.gz"),
        items=RawFile(name="items.csv.gz"),
    )
    return dataclasses.replace(amazon_card(folder), sources=(source,))


def made(card: DatasetCard, cache: Path, *, limit: int | None = None, seed: int = 0) -> PreparedSplit:
    return prepare(card, PROTOCOL, cache=cache, data_dir=None, limit_users=limit, data_seed=seed)


def named_rows(split: PreparedSplit, rows: Ragged) -> list[list[str]]:
    ids = load_training(split.folder).catalogue.item_ids
    return [[ids[item] for item in row] for row in rows]


def test_the_last_two_items_of_each_user_are_held_out(tmp_path: Path) -> None:
    write_amazon(tmp_path / "raw", EVENTS)
    split = made(amazon_card(tmp_path / "raw"), tmp_path / "cache")
    data = load_training(split.folder)
    assert load_users(split.folder) == ("u1", "u2", "u3")
    assert data.catalogue.item_ids == ("B1", "B2", "B3")
    assert data.catalogue.titles == ("Tom & Jerry", "Two words", "Three")
    assert data.catalogue.categories == ("Games > Retro", "", "Games")
    assert named_rows(split, data.sequences) == [["B1"], ["B1"], ["B1"]]
    assert data.catalogue.popularity.tolist() == [3, 0, 0]
    assert data.valid.target.tolist() == [1, 2, 1]
    assert load_targets(split.folder, "test").tolist() == [2, 1, 2]
    assert data.history == 20
    assert dict(data.digests) == split.digests


def test_statistics_count_every_rule_and_the_tied_targets(tmp_path: Path) -> None:
    write_amazon(tmp_path / "raw", EVENTS)
    split = made(amazon_card(tmp_path / "raw"), tmp_path / "cache")
    assert split.statistics["rules"] == {
        "bad_json_lines": 1,
        "repeated_items": 0,
        "rows_without_metadata": 1,
        "rows_without_title": 1,
        "repeated_pairs": 1,
        "rows_below_core": 1,  # the one row of u4
        "short_users": 0,
        "rows_of_short_users": 0,
        "empty_titles": 0,
    }
    assert split.statistics["tied_targets"] == {"valid": 1, "test": 1}  # u3 did everything at 10
    assert split.statistics["density"] == 9 / (3 * 3)
    assert (split.num_users, split.num_items, split.noun, split.source) == (3, 3, "game", "amazon18")


def test_raw_and_normalised_files_of_the_same_data_differ_only_in_the_raw_digest(tmp_path: Path) -> None:
    write_amazon(tmp_path / "raw", EVENTS)
    write_normalised(tmp_path / "clean", CLEAN)
    raw = made(amazon_card(tmp_path / "raw"), tmp_path / "cache")
    clean = made(normalised_card(tmp_path / "clean"), tmp_path / "cache")
    assert raw.folder != clean.folder
    assert {key for key in raw.digests if raw.digests[key] != clean.digests[key]} == {"raw"}
    for name in ("training.npz", "requests_test.npz", "targets_test.npz", "catalogue.json", "users.json"):
        assert (raw.folder / name).read_bytes() == (clean.folder / name).read_bytes()


def write_raw(format_: Format, folder: Path) -> DatasetCard:
    """EVENTS and METADATA as a format writes them, odd rows included, and the card that reads them."""
    folder.mkdir(parents=True)
    dashed = {
        "amazon14": ("reviewerID", "asin", "unixReviewTime"),
        "amazon23": ("user_id", "parent_asin", "timestamp"),
    }
    if format_ in dashed:
        user, item, time = dashed[format_]
        ticks = 1000 if format_ == "amazon23" else 1
        reviews = [json.dumps({user: u, item: i, time: t * ticks, "text": "fine"}) for u, i, t in EVENTS]
        products = []
        for row in METADATA:
            labels = [row["category"], ["Other"]] if format_ == "amazon14" else row["category"]
            product = {
                item: row["asin"],
                **({"title": row["title"]} if "title" in row else {}),
                "categories": labels,
            }
            products.append(repr(product) if format_ == "amazon14" else json.dumps(product))
        interactions, items = [*reviews[:3], "{cut off", *reviews[3:]], [*products, products[0], "[]"]
    elif format_ == "movielens":
        interactions = [f"{u}::{i}::5::{t}" for u, i, t in EVENTS]
        items = [f"{i}::{title}::{genres}" for i, title, genres in PLAIN]
    else:
        interactions = ["user_id:token\titem_id:token\ttimestamp:float"]
        interactions += [f"{u}\t{i}\t{float(t)}" for u, i, t in EVENTS]
        items = ["item_id:token\ttitle:token_seq\tcategories:token_seq"]
        items += [f"{i}\t{title}\t{genres}" for i, title, genres in PLAIN]
    for name, lines in (("interactions", interactions), ("items", items)):
        (folder / name).write_text("\n".join(lines) + "\n", encoding="latin-1")
    source = Source(
        format=format_,
        folder=str(folder),
        interactions=RawFile(name="interactions"),
        items=RawFile(name="items"),
    )
    return dataclasses.replace(amazon_card(folder), sources=(source,))


PLAIN = [
    ("B1", "Tom & Jerry", "Games > Retro"),
    ("B3", "Three", "Games"),
    ("B2", " Two  words", ""),
    ("B7", "", ""),
]


@pytest.mark.parametrize("format_", ["amazon14", "amazon23", "movielens", "atomic"])
def test_every_raw_format_gives_the_set_of_the_normalised_form(tmp_path: Path, format_: Format) -> None:
    write_normalised(tmp_path / "clean", CLEAN)
    clean = made(normalised_card(tmp_path / "clean"), tmp_path / "cache")
    raw = made(write_raw(format_, tmp_path / "raw"), tmp_path / "cache")
    assert raw.source == format_
    assert {key for key in raw.digests if raw.digests[key] != clean.digests[key]} == {"raw"}
    rules = {rule: count for rule, count in raw.statistics["rules"].items() if count}
    json_lines = {"bad_json_lines": 2, "repeated_items": 1} if format_.startswith("amazon") else {}
    assert rules == {
        "rows_without_metadata": 1,
        "rows_without_title": 1,
        "repeated_pairs": 1,
        "rows_below_core": 1,
        **json_lines,
    }


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
    found = []
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
        found.append(json.loads(done.stdout))
    assert {key for key in found[0] if found[0][key] != found[1][key]} == {"raw"}


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


def test_a_limit_draws_users_and_keeps_the_catalogue(tmp_path: Path) -> None:
    write_normalised(tmp_path / "clean", CLEAN)
    card = normalised_card(tmp_path / "clean")
    whole, part = made(card, tmp_path / "cache"), made(card, tmp_path / "cache", limit=2)
    assert set(load_users(part.folder)) < set(load_users(whole.folder))
    assert len(load_training(part.folder).sequences) == len(load_requests_test(part)) == part.num_users == 2
    assert part.num_items == len(load_training(part.folder).catalogue) == 3
    assert part.statistics["users"] == 3
    assert part.digests["log"] == whole.digests["log"]
    assert part.digests["split"] != whole.digests["split"]
    assert made(card, tmp_path / "cache", limit=3).digests == whole.digests


def load_requests_test(split: PreparedSplit) -> Ragged:
    return load_requests(split.folder, "test", exclude_seen=False).history


COUNT_OPENS = """
import sys
from dataclasses import replace
from pathlib import Path
from recbench.dataset.card import parse
from recbench.dataset.prepare import prepare, verify
from recbench.protocol import get_protocol
opened = []
sys.addaudithook(lambda event, args: event == "open" and opened.append(str(args[0])))
card = parse(Path(sys.argv[1]).read_bytes(), path=sys.argv[1])
for _ in range(2):
    split = prepare(card, replace(get_protocol("ilrec"), depth=3), cache=Path(sys.argv[2]), data_dir=None)
    print(sum(name.endswith("interactions.csv.gz") for name in opened), split.folder)
    opened.clear()
"""


def write_card(folder: Path) -> Path:
    path = folder / "tiny.toml"
    path.write_text(
        'name = "tiny"\ntitle = "T"\nnoun = "game"\ncitation = ""\nterms = ""\n[[sources]]\n'
        f'format = "normalised"\nfolder = "{folder / "clean"}"\n'
        'interactions = {name = "interactions.csv.gz"}\nitems = {name = "items.csv.gz"}\n'
    )
    return path


def test_a_second_call_finds_the_split_without_reading_the_rows(tmp_path: Path) -> None:
    write_normalised(tmp_path / "clean", CLEAN)
    arguments = [str(write_card(tmp_path)), str(tmp_path / "cache")]
    done = subprocess.run(
        [sys.executable, "-c", COUNT_OPENS, *arguments], capture_output=True, text=True, check=True
    )
    (first, folder), (second, again) = (line.split() for line in done.stdout.splitlines())
    # to hash it, for its header and for its rows; the second time only to hash it
    assert (int(first), int(second)) == (3, 1)
    assert folder == again


def test_a_split_appears_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    write_normalised(tmp_path / "clean", CLEAN)
    split = made(normalised_card(tmp_path / "clean"), tmp_path / "cache")
    assert list((tmp_path / "cache" / "split").iterdir()) == [split.folder]
    assert len(split.folder.name) == 12
    files = json.loads((split.folder / "split.json").read_text())["files"]
    assert set(files) | {"split.json"} == {path.name for path in split.folder.iterdir()}


def test_only_one_file_holds_the_test_targets(tmp_path: Path) -> None:
    """Where nothing but the test items differs, only their file (and the digests) do."""
    folder = tmp_path / "clean"
    more = [*CLEAN, ("u1", "B4", 3, 50), ("u2", "B4", 3, 50), ("u3", "B5", 3, 50)]
    other = [*CLEAN, ("u1", "B4", 3, 50), ("u2", "B5", 3, 50), ("u3", "B4", 3, 50)]
    card = dataclasses.replace(normalised_card(folder), filter=Filter(), expect=None)
    contents = []
    for rows in (more, other):
        write_normalised(folder, rows)
        with gzip.open(folder / "items.csv.gz", "at") as stream:
            stream.write("B4,Four,\nB5,Five,\n")
        split = made(card, tmp_path / "cache")
        contents.append({path.name: path.read_bytes() for path in split.folder.iterdir()})
    assert {name for name in contents[0] if contents[0][name] != contents[1][name]} == {
        "targets_test.npz",
        "split.json",
    }


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


def has_recbole() -> bool:
    try:
        importlib.metadata.distribution("recbole")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


@pytest.mark.skipif(not has_recbole(), reason="the package recbole carries the files of ml-100k")
def test_ml_100k_has_its_published_counts_and_415_tied_test_items(tmp_path: Path) -> None:
    split = made(cards.find("ml-100k", None), tmp_path)
    numbers = split.statistics
    assert (numbers["users"], numbers["items"], numbers["interactions"]) == (943, 1682, 100_000)
    assert numbers["training_targets"] == 100_000 - 3 * 943
    assert numbers["tied_targets"] == {"valid": 599, "test": 415}
    data = load_training(split.folder)
    assert data.catalogue.titles[:2] == ("Toy Story", "GoldenEye")
    assert load_users(split.folder)[:3] == ("1", "2", "3")
