"""Download a raw file, continuing an interrupted download."""

from __future__ import annotations

import shutil
import urllib.error
import urllib.request
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbench.base.progress import Reporter
from recbench.dataset.card import RawFile
from recbench.errors import DataError

CHUNK_BYTES = 1 << 20
TIMEOUT_SECONDS = 60


def address(file: RawFile) -> str:
    """The file's URL for messages, with a warning where the authors of the card have not fetched it."""
    return file.url if file.verified else f"{file.url} (nobody has verified this address for the card)"


def download(file: RawFile, folder: Path, *, report: Reporter) -> Path:
    """Fetch `file` into `folder` and check it. OSError where the network or the disk fails.

    A file in a zip archive is extracted; the archive stays, for other files in it.
    """
    if not file.member:
        return _fetched(file.url, folder, file.name, file.sha256, file, report)
    archive = folder / file.url.rpartition("/")[2]
    if not archive.is_file():
        _fetched(file.url, folder, archive.name, "", file, report)
    return _extracted(archive, file, folder)


def _fetched(url: str, folder: Path, name: str, sha256: str, file: RawFile, report: Reporter) -> Path:
    import pooch

    report.log(message=f"downloading {address(file)} to {folder}")
    fetch = _Resuming(folder / f"{name}.part", report)
    known = f"sha256:{sha256}" if sha256 else None
    try:
        path = pooch.retrieve(url, known_hash=known, fname=name, path=folder, downloader=fetch)
    except ValueError as error:  # pooch reports a wrong checksum by this
        raise DataError(f"{url} is not the file that the card describes", why=str(error)) from None
    return Path(path)


def _extracted(archive: Path, file: RawFile, folder: Path) -> Path:
    part = folder / f"{file.name}.part"
    try:
        with zipfile.ZipFile(archive) as whole, whole.open(file.member) as member, part.open("wb") as out:
            shutil.copyfileobj(member, out)
    except (zipfile.BadZipFile, zlib.error, KeyError) as error:
        part.unlink(missing_ok=True)
        raise DataError(
            f"{file.member} cannot be extracted from {archive}", why=str(error), fix=f"rm {archive}"
        ) from None
    return part.replace(folder / file.name)


@dataclass(frozen=True, slots=True)
class _Resuming:
    """A downloader for pooch that keeps the bytes received in `part` and requests only the rest.

    A file that changed on the server in between is caught by its checksum, or by gzip's.
    """

    part: Path
    report: Reporter

    def __call__(self, url: str, output_file: str, _pooch: Any) -> None:
        try:
            self._fetch(url)
        except urllib.error.HTTPError as error:
            if error.code != 416 or not self.part.exists():
                raise
            self.part.unlink()  # the server has no more bytes: the part is complete, or of another file
            self._fetch(url)
        self.part.replace(output_file)

    def _fetch(self, url: str) -> None:
        received = self.part.stat().st_size if self.part.exists() else 0
        request = urllib.request.Request(url, headers={"Range": f"bytes={received}-"} if received else {})
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
            if response.status != 206:
                received = 0
            length = response.headers.get("Content-Length")
            total = received + int(length) if length else 0
            with self.part.open("ab" if received else "wb") as out:
                while chunk := response.read(CHUNK_BYTES):
                    out.write(chunk)
                    received += len(chunk)
                    self.report.progress(f"download {self.part.stem}", received, max(total, received))
        if total and received != total:
            raise OSError(f"the connection closed after {received:,} of {total:,} bytes")
