"""Make a split on disk from a dataset card: read, filter, hold out, digest, write once."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbench.base import digest
from recbench.base.extensions import code, points
from recbench.base.extensions.extension import head
from recbench.base.files import new_folder
from recbench.base.progress import Reporter, Silent
from recbench.data import Ints, arrays_of
from recbench.dataset.card import DatasetCard, is_own_format
from recbench.dataset.holdout import Asked, HeldOut, hold_out
from recbench.dataset.sources import READERS, brought, codes
from recbench.dataset.sources.locate import RawFiles, locate
from recbench.dataset.sources.log import Log, filtered
from recbench.dataset.split import RECORD, TARGET_FILES, PreparedSplit, check_files, load_split, remake
from recbench.dataset.summary import distributions, statistics
from recbench.errors import CheckError, DataError, DigestError, MissingError, RecbenchError, UsageError
from recbench.protocol import EvalProtocol

FORMAT = 2
"""Increased when the files of a split or the rules that make it change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """All that decides a split."""

    card: DatasetCard
    protocol: EvalProtocol
    files: RawFiles
    limit_users: int | None
    data_seed: int

    def folder(self, cache: Path) -> Path:
        """Where the split is kept. The data seed counts only where something is drawn by it."""
        draws = self.protocol.draws or self.limit_users is not None
        key = {
            "format": FORMAT,
            "card": asdict(self.card),
            "raw": self.files.digest,
            "source": self.files.source.format,
            **self._reader,
            "protocol": self.protocol.split_part(),
            "limit_users": self.limit_users,
            "data_seed": self.data_seed if draws else None,
        }
        return cache / "split" / digest.short(digest.of_json(key))

    @property
    def _reader(self) -> dict[str, str]:
        """The code of a format of another package: read by other code, the files may give another log."""
        if is_own_format(self.files.source):
            return {}
        return {"reader": code.digest_of(points.point_of("format", head(self.files.source.format)))}


def prepare(
    card: DatasetCard,
    protocol: EvalProtocol,
    *,
    cache: Path,
    data_dir: Path | None,
    offline: bool = False,
    limit_users: int | None = None,
    data_seed: int = 0,
    report: Reporter = Silent(),
) -> PreparedSplit:
    """The split of a dataset under a protocol, made at the first call and read from `cache/split/` later.

    `limit_users` draws that many users by `data_seed`, for training and requests; the catalogue stays
    whole. Raises MissingError (no raw files, no room for the result), DataError (malformed files, nothing
    left), UsageError (the data do not allow this protocol) and CheckError (not what the card expects).
    """
    if limit_users is not None and limit_users < 1:
        raise UsageError(f"--limit-users {limit_users} leaves nobody", fix="--limit-users 100")
    files = locate(card, data_dir=data_dir, cache=cache, offline=offline, report=report)
    recipe = Recipe(card=card, protocol=protocol, files=files, limit_users=limit_users, data_seed=data_seed)
    folder = recipe.folder(cache)
    if not (folder / RECORD).exists():
        _publish(_make(recipe, folder, report, cache), folder)
    return load_split(folder)


def find(
    card: DatasetCard,
    protocol: EvalProtocol,
    *,
    cache: Path,
    data_dir: Path | None,
    limit_users: int | None = None,
    data_seed: int = 0,
) -> PreparedSplit | None:
    """The split that `prepare` would return, if it was made before. MissingError without the raw files."""
    files = locate(card, data_dir=data_dir, cache=cache, offline=True, report=Silent())
    recipe = Recipe(card=card, protocol=protocol, files=files, limit_users=limit_users, data_seed=data_seed)
    folder = recipe.folder(cache)
    return load_split(folder) if (folder / RECORD).exists() else None


def verify(
    card: DatasetCard,
    protocol: EvalProtocol,
    *,
    cache: Path,
    data_dir: Path | None,
    offline: bool = False,
    report: Reporter = Silent(),
) -> PreparedSplit:
    """The split on disk, compared with a split made again from the raw files, and every file checked.

    Raises what `prepare` raises, and DigestError where anything has changed.
    """
    split = prepare(card, protocol, cache=cache, data_dir=data_dir, offline=offline, report=report)
    files = locate(card, data_dir=data_dir, cache=cache, offline=offline, report=report)
    recipe = Recipe(card=card, protocol=protocol, files=files, limit_users=None, data_seed=split.data_seed)
    again = json.loads(_make(recipe, split.folder, report, cache)[RECORD])
    on_disk = split.to_json()
    for part in ("digests", "statistics"):
        for name, value in again[part].items():
            if value != on_disk[part][name]:
                raise DigestError(
                    f"the prepared dataset '{card.name}' is not what its raw files give",
                    why=f"{part}.{name} on disk is {on_disk[part][name]}, from the raw files {value}",
                    fix=remake(split.folder),
                )
    check_files(split)
    return split


def make_again(
    card: DatasetCard,
    protocol: EvalProtocol,
    *,
    into: Path,
    cache: Path,
    data_dir: Path | None,
    limit_users: int | None = None,
    data_seed: int = 0,
    report: Reporter = Silent(),
) -> PreparedSplit:
    """The split made again from the raw files in the new folder `into`, whatever `cache/split/` holds.

    Raises what `prepare` raises; downloads nothing.
    """
    files = locate(card, data_dir=data_dir, cache=cache, offline=True, report=report)
    recipe = Recipe(card=card, protocol=protocol, files=files, limit_users=limit_users, data_seed=data_seed)
    _publish(_make(recipe, into, report, cache), into)
    return load_split(into)


def _make(recipe: Recipe, folder: Path, report: Reporter, cache: Path) -> dict[str, bytes]:
    """The files of the split, which belong in `folder`, by name."""
    card, protocol, files = recipe.card, recipe.protocol, recipe.files
    log = read_log(card, files, report, root=cache.parent)
    try:
        if len(log.item_ids) < protocol.depth:
            raise DataError(
                f"{len(log.item_ids)} items are fewer than the {protocol.depth} that are ranked",
                why=f"protocol '{protocol.name}' ranks the best {protocol.depth}",
            )
        split = hold_out(log, protocol, limit_users=recipe.limit_users, seed=recipe.data_seed)
    except RecbenchError as error:
        raise type(error)(f"dataset '{card.name}': {error.what}", why=error.why, fix=error.fix) from None
    given = None
    if "codes" in files.paths:
        given = codes.read(files.paths["codes"], log.item_ids, report=report)
    contents = _contents(log, split, given)
    record = PreparedSplit(
        folder=folder,
        dataset=card.name,
        title=card.title,
        noun=card.noun,
        history=protocol.history,
        limit_users=recipe.limit_users,
        data_seed=recipe.data_seed,
        source=files.source.format,
        digests=chained_digests(log, split, protocol, raw=files.digest, given=given),
        statistics=statistics(log, split),
        distributions=distributions(log),
        files={name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
    )
    return contents | {RECORD: _json(record.to_json(), indent=1)}


def read_log(card: DatasetCard, files: RawFiles, report: Reporter, *, root: Path) -> Log:
    """The filtered log; a format of another package reads under the guard of `root`.

    CheckError unless it has the counts that the card expects and the digest that the source names."""
    try:
        if is_own_format(files.source):
            raw = READERS[files.source.format](files.source, files.paths, report=report)
            log = filtered(raw, card.filter)
        else:
            log = brought.read(files.source, files.paths, card.filter, root=root)
    except DataError as error:
        raise DataError(f"{files.paths['interactions']}: {error.what}", why=error.why) from None
    if card.expect is not None:
        expected = {name: count for name, count in asdict(card.expect).items() if count is not None}
        got = {
            "users": len(log.user_ids),
            "items": len(log.item_ids),
            "interactions": log.num_interactions,
            "rows": log.num_interactions - len(log.user_ids),
        }
        if any(got[name] != count for name, count in expected.items()):
            differences = (f"{name}: expected {expected[name]:,}, got {got[name]:,}" for name in expected)
            raise _unexpected(card, files, "\n".join(differences), log)
    if files.source.log and log_digest(log) != files.source.log:
        raise _unexpected(
            card, files, f"the log's digest is {log_digest(log)}, the card says {files.source.log}", log
        )
    return log


def _unexpected(card: DatasetCard, files: RawFiles, what: str, log: Log) -> CheckError:
    return CheckError(
        f"dataset '{card.name}' is not what its card expects",
        why=f"{what}\nfrom {' and '.join(map(str, files.paths.values()))}; rules: {dict(log.counts)}",
        fix=f"get the files that the card describes, or change [expect] in {card.name}.toml",
    )


def log_digest(log: Log) -> str:
    """The digest of users, items, and every sequence with its timestamps; texts come later in the chain."""
    in_order = arrays_of(log.sequences, "sequences") | ({"times": log.moments} if log.timestamped else {})
    content = {"users": log.user_ids, "items": log.item_ids, "sequences": digest.of_arrays(in_order)}
    return digest.of_json(content | ({"ticks": log.ticks} if log.ticks > 1 else {}))


def chained_digests(
    log: Log, split: HeldOut, protocol: EvalProtocol, *, raw: str, given: Ints | None = None
) -> dict[str, str]:
    """The digests raw, log, split and catalogue; `given` codes count in the last.

    Each but `raw` covers the one before it. The chain starts from the log's content, so another order of
    the rows, or another raw format of the same content, changes only `raw`.
    """
    of_log = log_digest(log)
    parts = {"users": split.users, **_training_arrays(split)}
    for phase, asked in split.requests.items():
        arrays = _request_arrays(asked) | {"target": asked.target}
        parts |= {f"{phase}_{name}": array for name, array in arrays.items()}
    of_split = digest.of_json(
        {"log": of_log, "protocol": protocol.split_part(), "parts": digest.of_arrays(parts)}
    )
    catalogue = {"split": of_split, "items": log.item_ids, "texts": log.texts}
    of_catalogue = digest.of_json(catalogue | ({} if given is None else {"codes": given.tolist()}))
    return {"raw": raw, "log": of_log, "split": of_split, "catalogue": of_catalogue}


def _training_arrays(split: HeldOut) -> dict[str, NDArray[Any]]:
    sample = {} if split.sample is None else {"sample": split.sample}
    return arrays_of(split.training, "sequences") | sample


def _request_arrays(asked: Asked) -> dict[str, NDArray[Any]]:
    lists = {} if asked.allowed is None else arrays_of(asked.allowed, "allowed")
    return {"user": asked.user.astype(np.int32), **arrays_of(asked.seen, "seen"), **lists}


def _contents(log: Log, split: HeldOut, given: Ints | None) -> dict[str, bytes]:
    """The files of a split by name, but for its record. `given`: codes that came with the data."""
    catalogue = {
        "item_ids": log.item_ids,
        "titles": [text.title for text in log.texts],
        "categories": [text.categories for text in log.texts],
    } | ({} if given is None else {"codes": given.tolist()})
    contents = {
        "catalogue.json": _json(catalogue),
        "users.json": _json([log.user_ids[row] for row in split.users]),
        "training.npz": _npz(_training_arrays(split)),
    }
    for phase, asked in split.requests.items():
        contents[f"requests_{phase}.npz"] = _npz(_request_arrays(asked))
        contents[TARGET_FILES[phase]] = _npz({"target": asked.target})
    return contents


def _json(value: Any, *, indent: int | None = None) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=indent).encode()


def _npz(arrays: Mapping[str, Any]) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def _publish(contents: Mapping[str, bytes], folder: Path) -> None:
    """Write all files to `folder`, which appears whole. A folder that lost its record is replaced."""
    if folder.exists() and not (folder / RECORD).exists():
        shutil.rmtree(folder, ignore_errors=True)  # a finished split always has its record
    try:
        with new_folder(folder) as partial:
            for name, content in contents.items():
                (partial / name).write_bytes(content)
    except OSError as error:
        if (folder / RECORD).exists():
            return  # another process finished the same split first
        raise MissingError(
            f"the prepared data cannot be written to {folder.parent}",
            why=str(error),
            fix="free some space there, make it writable, or name another folder with --root DIR",
        ) from None
