"""Find the raw files of a card: in an installed package, in the data folder, or on the web."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from recbench.base import digest
from recbench.base.progress import Reporter
from recbench.dataset.card import DatasetCard, RawFile, Source
from recbench.dataset.sources.download import address, download
from recbench.dataset.sources.planted import GENERATORS
from recbench.errors import DataError, MissingError


@dataclass(frozen=True, slots=True, kw_only=True)
class RawFiles:
    """The files of one source, and the sha256 of each."""

    source: Source
    paths: Mapping[str, Path]
    """By content: `interactions`, `items`, and the optional files of the source."""
    sha256: Mapping[str, str]

    @property
    def digest(self) -> str:
        """Digest of the files' bytes, independent of their names."""
        return digest.of_json(list(self.sha256.values()))


def locate(
    card: DatasetCard, *, data_dir: Path | None, cache: Path, offline: bool, report: Reporter
) -> RawFiles:
    """The files of the first source that exists or is generated, else of the first that can be downloaded.

    MissingError lists the folders searched and how to get the files; DataError names a file that differs
    from its description in the card.
    """
    looked: list[str] = []
    for source in card.sources:
        for folder in folders(source, data_dir, cache):
            if all((folder / file.name).is_file() for file in source.files.values()):
                return _checked(card, source, folder)
            looked.append(f"{folder}/ ({' and '.join(file.name for file in source.files.values())})")
        if source.generator is not None:
            folder = cache / "raw" / source.folder
            try:
                GENERATORS[source.generator](folder)
            except OSError as error:
                raise MissingError(
                    f"dataset '{card.name}' cannot be written to {folder}",
                    why=str(error),
                    fix="make it writable, or name another folder with --root DIR",
                ) from None
            return _checked(card, source, folder)
        if source.distribution and not folders(source, data_dir, cache):
            looked.append(f"the Python package {source.distribution}, which is not installed")
    web = [source for source in card.sources if all(file.url for file in source.files.values())]
    if not offline:
        for source in web:
            try:
                return _downloaded(card, source, cache, report)
            except (OSError, HTTPException) as error:
                looked.append(f"{' and '.join(map(address, source.files.values()))}: {error}")
    fixes = [source.fix for source in card.sources if source.fix]
    if web and offline:
        fixes.append("the same command without --offline")
    raise MissingError(
        f"the raw files of dataset '{card.name}' are not here",
        why="looked in:\n"
        + "\n".join(f"  {where}" for where in looked or ["no folder: the data folder is not set"]),
        fix="\n  or ".join(fixes),
    )


def folders(source: Source, data_dir: Path | None, cache: Path) -> list[Path]:
    """Where the files of a source may lie."""
    if not source.distribution:
        return [base / source.folder for base in (data_dir, cache / "raw") if base is not None]
    try:
        distribution = importlib.metadata.distribution(source.distribution)
    except importlib.metadata.PackageNotFoundError:
        return []
    return [Path(str(distribution.locate_file(source.folder)))]


def _downloaded(card: DatasetCard, source: Source, cache: Path, report: Reporter) -> RawFiles:
    folder = cache / "raw" / source.folder
    folder.mkdir(parents=True, exist_ok=True)
    for file in source.files.values():
        if not (folder / file.name).is_file():
            download(file, folder, report=report)
    return _checked(card, source, folder)


def _checked(card: DatasetCard, source: Source, folder: Path) -> RawFiles:
    files = source.files
    if source.codes is not None and (folder / source.codes.name).is_file():
        files["codes"] = source.codes  # the only optional file
    return RawFiles(
        source=source,
        paths={part: folder / file.name for part, file in files.items()},
        sha256={part: _sha256(card, source, file, folder) for part, file in files.items()},
    )


def _sha256(card: DatasetCard, source: Source, file: RawFile, folder: Path) -> str:
    got = digest.of_file(folder / file.name)
    if file.sha256 and got != file.sha256:
        raise DataError(
            f"{folder / file.name} is not the file that card '{card.name}' describes",
            why=f"sha256 is {got}, the card says {file.sha256}",
            fix=f"rm {folder / file.name}   (it is fetched again)" if file.url else source.fix,
        )
    return got
