"""Dataset cards: the sources of a dataset, its filter, its expected counts, and its citation."""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from recbench.base.extensions import points
from recbench.base.extensions.extension import head
from recbench.base.files import parse_toml
from recbench.errors import DataError, unknown_name

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")
Format = Literal["atomic", "normalised", "amazon14", "amazon18", "amazon23", "movielens"]
"""The raw formats of recbench itself."""
Generator = Literal["planted"]
WEB = ("http://", "https://")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A web address, and whether the authors of the card have fetched it."""

    url: str
    what: str
    verified: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RawFile:
    """A raw file of a source. An empty `sha256` is not checked; an empty `url` cannot be downloaded."""

    name: str
    sha256: str = ""
    url: str = ""
    verified: bool = False
    member: str = ""
    """Path of the file inside the zip archive at `url`; empty where `url` is the file itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One place and format of the raw data."""

    format: Format | str
    """One of recbench's own, or of another package, as `NAME:key=value`."""
    folder: str
    """Relative to the data folder, or to the installed `distribution` where it is named."""
    interactions: RawFile
    items: RawFile
    candidates: RawFile | None = None
    """Lists of candidates that the source prescribes for its evaluation steps."""
    distribution: str = ""
    codes: RawFile | None = None
    """Semantic ids that came with the data; read where the file exists."""
    title: str = "title"
    """Column of the items' titles; empty where the source has none."""
    categories: str = "categories"
    """Column of the items' category text; empty where the source has none."""
    ticks: Literal[1, 1000, 1_000_000, 1_000_000_000] = 1
    """Units of a timestamp a second. Releases of the Amazon reviews define their own."""
    fix: str = ""
    """The command that gets these files."""
    generator: Generator | None = None
    """The generator of these files, which writes them below the cache where they are missing."""
    log: str = ""
    """Expected digest of the filtered log of these files. Empty: not checked."""

    @property
    def files(self) -> dict[str, RawFile]:
        """The files that the source has, by content."""
        parts = {"interactions": self.interactions, "items": self.items, "candidates": self.candidates}
        return {part: file for part, file in parts.items() if file is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Rules that remove interactions, in addition to the rules for every dataset."""

    core: int = 0
    """Every user and every item keeps at least this many interactions."""
    titled_items: bool = False
    """Whether items without a title are removed; else they keep an empty title."""
    title_words: int = 0
    """Items with more words in their title are removed; 0 sets no limit."""
    title_letters: int = 0
    """Items with a shorter title are removed."""
    title_without: str = ""
    """Items whose title holds this text are removed."""
    since: str = ""
    """Earlier interactions are removed: a day, `YYYY-MM-DD`, from its midnight in UTC."""
    until: str = ""
    """Later interactions are removed: a day, whose midnight in UTC stays."""
    keeps_repeats: bool = False
    """Whether a user's later interactions with the same item stay, and count."""

    @property
    def window(self) -> tuple[int | None, int | None]:
        """First and last second that stay; None where there is no bound. ValueError for what is no day."""
        first, last = (_midnight(day) if day else None for day in (self.since, self.until))
        return first, last

    def wants(self, title: str) -> bool:
        """Whether an item of that title stays."""
        return (
            (bool(title) or not self.titled_items)
            and (not self.title_words or len(title.split()) <= self.title_words)
            and len(title) >= self.title_letters
            and not (self.title_without and self.title_without in title)
        )


def _midnight(day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp())


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Expected counts of the filtered log; other counts are refused. None where a count is not known."""

    users: int | None = None
    items: int | None = None
    interactions: int | None = None
    rows: int | None = None
    """Interactions after their user's first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedCounts:
    """Counts that a paper prints for this dataset, and the reason of a difference."""

    paper: str
    users: int
    items: int
    interactions: int
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetCard:
    name: str
    title: str
    noun: str
    """What an item is called in a sentence: film, game, song."""
    citation: str
    terms: str
    sources: tuple[Source, ...]
    """In order of preference: the first source whose files exist is read."""
    urls: tuple[Address, ...] = ()
    used_by: tuple[str, ...] = ()
    published: tuple[PublishedCounts, ...] = ()
    notes: tuple[str, ...] = ()
    filter: Filter = Filter()
    expect: Expected | None = None


def available(root: Path | None) -> dict[str, Traversable]:
    """The card files by name: the built-in cards, overridden by `<root>/datasets/*.toml`."""
    folders: list[Traversable] = [importlib.resources.files("recbench") / "_cards"]
    if root is not None:
        folders.append(root / "datasets")
    return {
        file.name.removesuffix(".toml"): file
        for folder in folders
        if folder.is_dir()
        for file in sorted(folder.iterdir(), key=lambda file: file.name)
        if file.name.endswith(".toml")
    }


def find(name: str, root: Path | None) -> DatasetCard:
    """The card called `name`. UsageError for an unknown name, with the nearest known one."""
    cards = available(root)
    if name not in cards:
        raise unknown_name("dataset", name, cards, fix="recbench list datasets")
    file = cards[name]
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"the card {file} cannot be read", why=str(error), fix="recbench doctor") from None
    card = parse(content, path=str(file))
    built_in = available(None).get(name)
    if built_in is None or built_in.read_bytes() != content:
        _check_sums(card, str(file))
    return card


def parse(content: bytes, *, path: str) -> DatasetCard:
    """The card in a TOML file. DataError names the file and the faulty key."""
    card = _record(DatasetCard, parse_toml(content, path), path=path, key="")
    if card.name != Path(path).stem:
        raise DataError(f"{path}: name is '{card.name}'", why="a card's name is the name of its file")
    if not card.sources:
        raise DataError(f"{path}: sources is empty", why="a card names at least one source of raw files")
    if card.filter.core < 0:
        raise DataError(
            f"{path}: filter.core = {card.filter.core} is negative", fix="core = 0 filters nothing"
        )
    try:
        first, last = card.filter.window
    except ValueError as error:
        raise DataError(f"{path}: filter has no day", why=str(error), fix='since = "2016-10-01"') from None
    if first is not None and last is not None and first > last:
        raise DataError(f"{path}: filter.since = {card.filter.since} is after until = {card.filter.until}")
    for number, source in enumerate(card.sources):
        _check_format(source, f"{path}: sources[{number}]")
        _check_places(source, f"{path}: sources[{number}]")
    return card


def is_own_format(source: Source) -> bool:
    return source.format in get_args(Format)


def _check_format(source: Source, where: str) -> None:
    brought = points.outside("format")
    if not is_own_format(source) and head(source.format) not in brought:
        known = [*get_args(Format), *brought]
        near = get_close_matches(source.format, known, n=1, cutoff=0.5)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise DataError(
            f"{where}.format = {source.format!r}{hint}",
            why=f"known: {', '.join(known)}",
            fix="recbench list formats; a format of another package is there when it is installed",
        )


def _check_places(source: Source, where: str) -> None:
    """Refuse places where a download or a generator would write outside the cache.

    A source whose files must be here already is only read, so its folder may be anywhere.
    """
    files = {**source.files, **({} if source.codes is None else {"codes": source.codes})}
    places = {"folder": source.folder} | {f"{part}.name": file.name for part, file in files.items()}
    places |= {f"{part}.member": file.member for part, file in files.items() if file.member}
    written = source.generator is not None or any(file.url for file in files.values())
    for key, text in places.items():
        parts = PurePosixPath(text).parts
        outside = written and (text.startswith(("/", "~")) or ".." in parts or "\\" in text)
        if outside or not parts or not text.isprintable():
            raise DataError(
                f"{where}.{key} = {text!r} is not a place below the data folder",
                why="an absolute path, or one with '..', could read and write anywhere",
                fix="set RECBENCH_DATA, and name the place relative to it",
            )
    for part, file in files.items():
        archive = file.url.rpartition("/")[2]  # under this name an archive is kept
        odd = file.member and (archive in ("", ".", "..") or "\\" in archive)
        if file.url and (odd or not file.url.isprintable() or not file.url.startswith(WEB)):
            raise DataError(
                f"{where}.{part}.url = {file.url!r} is not the address of a file on the web",
                why="a file of this machine is no download, and an archive is kept under the last part",
                fix='url = "https://..."',
            )


def _check_sums(card: DatasetCard, path: str) -> None:
    """The files that a card from outside has downloaded are known by their checksums."""
    for source in card.sources:
        for part, file in source.files.items():
            if file.url and not file.sha256:
                raise DataError(
                    f"{path}: {part} has a url and no sha256",
                    why="a download that nothing is known about is not put beside your data",
                    fix=f'download it yourself, and state sha256 = "..." (sha256sum {file.name})',
                )


def _record(cls: type[T], table: Mapping[str, Any], *, path: str, key: str) -> T:
    """An instance of dataclass `cls` whose fields have exactly the types that it declares."""
    declared = {f.name: f for f in fields(cls)}
    hints = get_type_hints(cls)
    for name in table:
        if name not in declared:
            near = get_close_matches(name, declared, n=1, cutoff=0.5)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise DataError(f"{path}: unknown key '{key}{name}'{hint}", why=f"known: {', '.join(declared)}")
    for name, field in declared.items():
        if name not in table and field.default is MISSING:
            raise DataError(f"{path}: key '{key}{name}' is missing")
    return cls(**{name: _value(hints[name], table[name], path=path, key=f"{key}{name}") for name in table})


def _value(hint: Any, value: Any, *, path: str, key: str) -> Any:
    if get_origin(hint) is tuple and isinstance(value, list):
        inner = get_args(hint)[0]
        return tuple(_value(inner, part, path=path, key=f"{key}[{n}]") for n, part in enumerate(value))
    if get_origin(hint) in (Union, UnionType):  # an optional table or value, or several words or any
        hint = [part for part in get_args(hint) if part is not NoneType][-1]
    if is_dataclass(hint) and isinstance(hint, type) and isinstance(value, dict):
        return _record(hint, value, path=path, key=f"{key}.")
    if get_origin(hint) is Literal:
        if value in get_args(hint):
            return value
        raise DataError(f"{path}: {key} = {value!r}", why=f"known: {', '.join(map(str, get_args(hint)))}")
    if hint in (str, int, bool) and type(value) is hint:
        return value
    expected = "a list" if get_origin(hint) is tuple else "a table" if is_dataclass(hint) else hint.__name__
    raise DataError(f"{path}: {key} = {value!r} is not {expected}")
