"""One raw file from the web, continued where an earlier attempt broke off."""

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
    """The file's address for people, with a warning where the card's authors could not fetch it."""
    return file.url if file.verified else f"{file.url} (nobody has verified this address for the card)"


def download(file: RawFile, folder: Path, *, report: Reporter) -> Path:
    """Fetch `file` into `folder` and check it. OSError where the network or the disk fails.

    A file that comes in a zip archive is taken out of it; the archive stays, for the next one.
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
    except ValueError as error:  # how pooch reports another checksum
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
            f"{file.member} cannot be taken out of {archive}", why=str(error), fix=f"rm {archive}"
        ) from None
    return part.replace(folder / file.name)


@dataclass(frozen=True, slots=True)
class _Resuming:
    """A downloader for pooch that keeps what has arrived in `part` and asks only for the rest.

    A file that changed on the server in between would be caught by its checksum, or by gzip's.
    """

    part: Path
    report: Reporter

    def __call__(self, url: str, output_file: str, pooch: Any) -> None:  # noqa: ARG002  # pooch's signature
        try:
            self._fetch(url)
        except urllib.error.HTTPError as error:
            if error.code != 416 or not self.part.exists():
                raise
            self.part.unlink()  # nothing lies behind what is here, so it is complete or not this file
            self._fetch(url)
        self.part.replace(output_file)

    def _fetch(self, url: str) -> None:
        have = self.part.stat().st_size if self.part.exists() else 0
        request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
            if response.status != 206:
                have = 0
            length = response.headers.get("Content-Length")
            total = have + int(length) if length else 0
            with self.part.open("ab" if have else "wb") as out:
                while chunk := response.read(CHUNK_BYTES):
                    out.write(chunk)
                    have += len(chunk)
                    self.report.progress(f"download {self.part.stem}", have, max(total, have))
        if total and have != total:
            raise OSError(f"the connection closed after {have:,} of {total:,} bytes")
