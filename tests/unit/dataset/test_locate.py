"""Finding or fetching the files of a card, from a server that runs here."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator, Mapping
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from recbench.base.progress import Silent
from recbench.dataset.card import DatasetCard, Format, RawFile, Source
from recbench.dataset.sources.download import download
from recbench.dataset.sources.locate import locate
from recbench.errors import DataError, MissingError

FILES: Mapping[Format, tuple[str, str]] = {
    "normalised": ("interactions.csv.gz", "items.csv.gz"),
    "amazon18": ("reviews.json.gz", "meta.json.gz"),
    "movielens": ("ratings.dat", "movies.dat"),
    "atomic": ("tiny.inter", "tiny.item"),
}


def source(format_: Format, folder: Path | str, *, distribution: str = "", fix: str = "") -> Source:
    interactions, items = (RawFile(name=name) for name in FILES[format_])
    return Source(
        format=format_,
        folder=str(folder),
        interactions=interactions,
        items=items,
        distribution=distribution,
        fix=fix,
    )


def card_of(*sources: Source) -> DatasetCard:
    return DatasetCard(name="tiny", title="T", noun="thing", citation="", terms="", sources=sources)


def test_missing_files_are_reported_with_every_place_and_the_fix(tmp_path: Path) -> None:
    card = card_of(
        source("normalised", "tiny", fix="get tiny"), source("atomic", "x", distribution="no-such-package")
    )
    with pytest.raises(MissingError) as refused:
        locate(card, data_dir=tmp_path / "data", cache=tmp_path / "cache", offline=True, report=Silent())
    text = str(refused.value)
    assert refused.value.exit_code == 3
    assert f"{tmp_path}/data/tiny/ (interactions.csv.gz and items.csv.gz)" in text
    assert f"{tmp_path}/cache/raw/tiny/" in text
    assert "package no-such-package, which is not installed" in text
    assert "try: get tiny" in text


def test_the_first_source_whose_files_are_here_is_taken(tmp_path: Path) -> None:
    for name in FILES["atomic"]:
        (tmp_path / name).write_text(name)
    card = card_of(source("normalised", tmp_path), source("atomic", tmp_path))
    files = locate(card, data_dir=None, cache=tmp_path / "cache", offline=True, report=Silent())
    assert files.source.format == "atomic"
    assert files.sha256["items"] == hashlib.sha256(b"tiny.item").hexdigest()


def test_a_file_with_another_checksum_is_refused(tmp_path: Path) -> None:
    plain = source("atomic", tmp_path)
    for name in FILES["atomic"]:
        (tmp_path / name).write_text(name)
    strict = dataclasses.replace(plain, items=RawFile(name="tiny.item", sha256="0" * 64))
    with pytest.raises(DataError, match=r"tiny\.item is not the file that card 'tiny' describes"):
        locate(card_of(strict), data_dir=tmp_path, cache=tmp_path, offline=True, report=Silent())


class Listening(Silent):
    """A reporter that remembers what it is told."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.last = (0, 0)

    def log(self, **values: float | int | str) -> None:
        self.messages.append(str(values.get("message")))

    def progress(self, stage: str, done: int, total: int) -> None:  # noqa: ARG002
        self.last = (done, total)


BODY = bytes(range(256)) * 40


class Serving(BaseHTTPRequestHandler):
    """Serves BODY under any path, honours ranges, and hangs up halfway under `/broken` and `/chunks`."""

    def __init__(self, asked: list[str], *arguments: object) -> None:
        self.asked = asked
        super().__init__(*arguments)  # type: ignore[arg-type]  # passed on as they come

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "")
        self.asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        if start >= len(BODY):
            self.send_error(416)
            return
        self.send_response(206 if wanted else 200)
        if self.path == "/chunks":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"ff\r\n" + BODY[:200])
            return
        self.send_header("Content-Length", str(len(BODY) - start))
        self.end_headers()
        self.wfile.write(BODY[start : len(BODY) // 2 if self.path == "/broken" else None])

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Serving, asked)) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}", asked
        running.shutdown()
        thread.join()


def test_a_broken_download_goes_on_where_it_stopped(tmp_path: Path, server: tuple[str, list[str]]) -> None:
    address, asked = server
    with pytest.raises(OSError, match="closed after 5,120 of 10,240 bytes"):
        download(RawFile(name="raw.bin", url=f"{address}/broken"), tmp_path, report=Silent())
    assert not (tmp_path / "raw.bin").exists()
    heard = Listening()
    known = hashlib.sha256(BODY).hexdigest()
    path = download(RawFile(name="raw.bin", url=f"{address}/whole", sha256=known), tmp_path, report=heard)
    assert path.read_bytes() == BODY
    assert asked == ["", "bytes=5120-"]
    assert heard.last == (len(BODY), len(BODY))
    assert [entry.name for entry in tmp_path.iterdir()] == ["raw.bin"]


def test_a_leftover_as_long_as_the_file_is_fetched_again(
    tmp_path: Path, server: tuple[str, list[str]]
) -> None:
    address, asked = server
    (tmp_path / "raw.bin.part").write_bytes(b"x" * len(BODY))
    path = download(RawFile(name="raw.bin", url=f"{address}/whole"), tmp_path, report=Silent())
    assert path.read_bytes() == BODY
    assert asked == ["bytes=10240-", ""]


def test_an_unverified_address_is_called_so_and_a_wrong_file_refused(
    tmp_path: Path, server: tuple[str, list[str]]
) -> None:
    heard = Listening()
    wrong = RawFile(name="raw.bin", url=f"{server[0]}/whole", sha256="0" * 64, verified=False)
    with pytest.raises(DataError, match="is not the file that the card describes"):
        download(wrong, tmp_path, report=heard)
    assert "nobody has verified this address" in heard.messages[0]
    assert not list(tmp_path.iterdir())


def on_the_web(address: str) -> Source:
    return dataclasses.replace(
        source("amazon18", "tiny"),
        interactions=RawFile(name="reviews.json.gz", url=f"{address}/reviews"),
        items=RawFile(name="meta.json.gz", url=f"{address}/meta"),
    )


def test_files_that_are_nowhere_are_downloaded_once(tmp_path: Path, server: tuple[str, list[str]]) -> None:
    card = card_of(source("normalised", "tiny"), on_the_web(server[0]))
    fetch = partial(locate, card, data_dir=None, cache=tmp_path, report=Silent())
    assert fetch(offline=False).paths["interactions"] == tmp_path / "raw" / "tiny" / "reviews.json.gz"
    assert fetch(offline=True).source.format == "amazon18"
    assert len(server[1]) == 2


def test_offline_refuses_the_download_and_asks_nobody(tmp_path: Path, server: tuple[str, list[str]]) -> None:
    card = card_of(on_the_web(server[0]))
    with pytest.raises(MissingError, match="without --offline"):
        locate(card, data_dir=None, cache=tmp_path, offline=True, report=Silent())
    assert server[1] == []


def test_an_address_that_does_not_answer_is_named(tmp_path: Path) -> None:
    card = card_of(on_the_web("http://127.0.0.1:9"))
    with pytest.raises(MissingError, match=r"127\.0\.0\.1:9/reviews \(nobody has verified .*refused"):
        locate(card, data_dir=None, cache=tmp_path, offline=False, report=Silent())


def test_a_download_that_breaks_off_within_a_chunk_is_a_file_that_is_not_here(
    tmp_path: Path, server: tuple[str, list[str]]
) -> None:
    chunked = RawFile(name="reviews.json.gz", url=f"{server[0]}/chunks")
    card = card_of(dataclasses.replace(on_the_web(server[0]), interactions=chunked))
    with pytest.raises(MissingError, match="IncompleteRead"):
        locate(card, data_dir=None, cache=tmp_path, offline=False, report=Silent())


def test_a_set_that_is_made_here_needs_a_place(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    card = card_of(dataclasses.replace(source("normalised", "tiny"), generator="planted"))
    with pytest.raises(MissingError, match="cannot be written to"):
        locate(card, data_dir=None, cache=tmp_path / "cache", offline=True, report=Silent())


class ServingZip(BaseHTTPRequestHandler):
    """Serves one archive and counts how often."""

    def __init__(self, content: bytes, asked: list[str], *arguments: object) -> None:
        self.content, self.asked = content, asked
        super().__init__(*arguments)  # type: ignore[arg-type]  # passed on as they come

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, format: str, *args: object) -> None: ...


def test_files_inside_an_archive_cost_one_download(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("ml/ratings.dat", "1::2::3::4\n")
        archive.writestr("ml/movies.dat", "2::Two::Drama\n")
    asked: list[str] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(ServingZip, packed.getvalue(), asked)) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        url = f"http://127.0.0.1:{running.server_address[1]}/ml.zip"
        files = {
            name: RawFile(name=f"{name}.dat", url=url, member=f"ml/{name}.dat")
            for name in ("ratings", "movies")
        }
        card = card_of(
            dataclasses.replace(
                source("movielens", "ml"), interactions=files["ratings"], items=files["movies"]
            )
        )
        located = locate(card, data_dir=None, cache=tmp_path, offline=False, report=Silent())
        absent = RawFile(name="tags.dat", url=url, member="ml/tags.dat")
        with pytest.raises(DataError, match=r"ml/tags\.dat cannot be extracted from") as refused:
            download(absent, tmp_path / "raw" / "ml", report=Silent())
        running.shutdown()
        thread.join()
    assert asked == ["/ml.zip"]
    assert located.paths["interactions"].read_text() == "1::2::3::4\n"
    assert refused.value.fix.startswith("rm ")
    assert sorted(path.name for path in (tmp_path / "raw" / "ml").iterdir()) == [
        "ml.zip",
        "movies.dat",
        "ratings.dat",
    ]
