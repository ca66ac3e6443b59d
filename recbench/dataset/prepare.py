"""From a dataset card to a split on disk: read, filter, hold out, digest, write once."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbench.base import digest
from recbench.base.progress import Reporter, Silent
from recbench.data import Ints, arrays_of
from recbench.dataset.card import DatasetCard
from recbench.dataset.holdout import Asked, HeldOut, hold_out
from recbench.dataset.sources import READERS, codes
from recbench.dataset.sources.locate import RawFiles, locate
from recbench.dataset.sources.log import Log, filtered
from recbench.dataset.split import TARGET_FILES, PreparedSplit, check_files, load_split
from recbench.dataset.summary import distributions, statistics
from recbench.errors import CheckError, DataError, DigestError, MissingError, RecbenchError, UsageError
from recbench.protocol import EvalProtocol

FORMAT = 2
"""Raised when the files of a split or the rules that make it change."""


def prepare(
    card: DatasetCard,
    protocol: EvalProtocol,
    *,
    cache: Path,
    data_dir: Path | None,
    offline: bool = False,
    limit_users: int | None = None,
    data_seed: int = 0,
    report: Reporter = Silent(),  # noqa: B008  # it has no state
) -> PreparedSplit:
    """The split of a dataset under a protocol, from `cache/split/` where it was made before.

    `limit_users` draws that many users by `data_seed`, for training and requests; the catalogue stays
    whole. Raises MissingError (no raw files, no room for the result), DataError (malformed files, nothing
    left), UsageError (a protocol that these data do not allow) and CheckError (not what the card expects).
    """
    if limit_users is not None and limit_users < 1:
        raise UsageError(f"--limit-users {limit_users} leaves nobody", fix="--limit-users 100")
    files = locate(card, data_dir=data_dir, cache=cache, offline=offline, report=report)
    folder = _folder(card, protocol, files, cache, limit_users, data_seed)
    if not (folder / "split.json").exists():
        _publish(_made(card, protocol, files, limit_users, data_seed, report), folder)
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
    """The split that `prepare` would give, if it was made before. MissingError without the raw files."""
    files = locate(card, data_dir=data_dir, cache=cache, offline=True, report=Silent())
    folder = _folder(card, protocol, files, cache, limit_users, data_seed)
    return load_split(folder) if (folder / "split.json").exists() else None


def _folder(
    card: DatasetCard,
    protocol: EvalProtocol,
    files: RawFiles,
    cache: Path,
    limit_users: int | None,
    data_seed: int,
) -> Path:
    key = {
        "format": FORMAT,
        "card": asdict(card),
        "raw": files.digest,
        "source": files.source.format,
        "protocol": protocol.split_part(),
        "limit_users": limit_users,
        "data_seed": data_seed if protocol.draws or limit_users is not None else None,
    }
    return cache / "split" / digest.short(digest.of_json(key))


def verify(
    card: DatasetCard,
    protocol: EvalProtocol,
    *,
    cache: Path,
    data_dir: Path | None,
    offline: bool = False,
    report: Reporter = Silent(),  # noqa: B008  # it has no state
) -> PreparedSplit:
    """The split, made again from the raw files and compared with the one on disk, every file checked.

    Raises what `prepare` raises, and DigestError where anything has changed.
    """
    split = prepare(card, protocol, cache=cache, data_dir=data_dir, offline=offline, report=report)
    files = locate(card, data_dir=data_dir, cache=cache, offline=offline, report=report)
    record = json.loads(_made(card, protocol, files, None, split.data_seed, report)["split.json"])
    for part, on_disk in (("digests", split.digests), ("statistics", split.statistics)):
        for name, value in record[part].items():
            if value != on_disk[name]:
                raise DigestError(
                    f"the prepared dataset '{card.name}' is not what its raw files give",
                    why=f"{part}.{name} on disk is {on_disk[name]}, from the raw files {value}",
                    fix=f"rm -r {split.folder}   (it is made again when it is next needed)",
                )
    check_files(split.folder)
    return split


def _made(
    card: DatasetCard,
    protocol: EvalProtocol,
    files: RawFiles,
    limit_users: int | None,
    data_seed: int,
    report: Reporter,
) -> dict[str, bytes]:
    """The files of the split by name."""
    log = read_log(card, files, report)
    try:
        if len(log.item_ids) < protocol.depth:
            raise DataError(
                f"{len(log.item_ids)} items are fewer than the {protocol.depth} that are ranked",
                why=f"protocol '{protocol.name}' ranks the best {protocol.depth}",
            )
        split = hold_out(log, protocol, limit_users=limit_users, seed=data_seed)
    except RecbenchError as error:
        raise type(error)(f"dataset '{card.name}': {error.what}", why=error.why, fix=error.fix) from None
    facts = {"limit_users": limit_users, "data_seed": data_seed, "source": files.source.format}
    given = None
    if "codes" in files.paths:
        given = codes.read(files.paths["codes"], log.item_ids, report=report)
    return _contents(card, protocol, log, split, given=given, raw=files.digest, facts=facts)


def read_log(card: DatasetCard, files: RawFiles, report: Reporter) -> Log:
    """The filtered log, which is what the card expects; its digest too where the source names one."""
    raw = READERS[files.source.format](files.source, files.paths, report=report)
    try:
        log = filtered(raw, card.filter)
    except DataError as error:
        raise DataError(f"{files.paths['interactions']}: {error.what}", why=error.why) from None
    if card.expect is not None:
        expected = asdict(card.expect)
        got = {"users": len(log.user_ids), "items": len(log.item_ids), "interactions": log.num_interactions}
        if got != expected:
            raise _unexpected(
                card,
                files,
                "\n".join(f"{k}: expected {expected[k]:,}, got {got[k]:,}" for k in expected),
                log,
            )
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
    """Over users, items, and every sequence with its timestamps; texts come later in the chain."""
    in_order = arrays_of(log.sequences, "sequences") | ({"times": log.moments} if log.timestamped else {})
    content = {"users": log.user_ids, "items": log.item_ids, "sequences": digest.of_arrays(in_order)}
    return digest.of_json(content | ({"ticks": log.ticks} if log.ticks > 1 else {}))


def chained_digests(
    log: Log, split: HeldOut, protocol: EvalProtocol, *, raw: str, given: Ints | None = None
) -> dict[str, str]:
    """raw, log, split, catalogue; `given` codes belong to the catalogue.

    The chain starts from the log's content, so that another order of the rows, or another raw format of the
    same content, changes only `raw`.
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


def _contents(
    card: DatasetCard,
    protocol: EvalProtocol,
    log: Log,
    split: HeldOut,
    *,
    given: Ints | None,
    raw: str,
    facts: Mapping[str, Any],
) -> dict[str, bytes]:
    """The files of a split by name; `split.json` records the sha256 of the others."""
    catalogue = {
        "item_ids": log.item_ids,
        "titles": [text.title for text in log.texts],
        "categories": [text.categories for text in log.texts],
    } | ({} if given is None else {"codes": given.tolist()})
    files = {
        "catalogue.json": _json(catalogue),
        "users.json": _json([log.user_ids[row] for row in split.users]),
        "training.npz": _npz(_training_arrays(split)),
    }
    for phase, asked in split.requests.items():
        files[f"requests_{phase}.npz"] = _npz(_request_arrays(asked))
        files[TARGET_FILES[phase]] = _npz({"target": asked.target})
    record = {
        "dataset": card.name,
        "title": card.title,
        "noun": card.noun,
        "history": protocol.history,
        **facts,
        "digests": chained_digests(log, split, protocol, raw=raw, given=given),
        "statistics": statistics(log, split),
        "distributions": distributions(log),
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }
    return files | {"split.json": _json(record, indent=1)}


def _json(value: Any, *, indent: int | None = None) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=indent).encode()


def _npz(arrays: Mapping[str, np.ndarray[Any, Any]]) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]  # the stub takes names for allow_pickle
    return stream.getvalue()


def _publish(files: Mapping[str, bytes], folder: Path) -> None:
    """Write all files beside `folder`, then let it appear by one rename."""
    partial = folder.with_name(f".{folder.name}-{os.getpid()}")
    try:
        partial.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (partial / name).write_bytes(content)
        try:
            partial.rename(folder)
        except OSError:
            if not (folder / "split.json").exists():
                raise
            # another process finished the same split first; both are the same
    except OSError as error:
        raise MissingError(
            f"the prepared data cannot be written to {folder.parent}",
            why=str(error),
            fix="free some space there, make it writable, or name another place with --root DIR",
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
