"""From a dataset card to a split on disk: read, filter, hold out, digest, write once.

R requests, U users, I items. Leave-one-out: of each user's items the last is the test target, the one
before it the validation target, the rest training.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recbench import digest
from recbench.card import DatasetCard
from recbench.data import Ints, Ragged, arrays_of
from recbench.errors import CheckError, DataError, MissingError, UsageError
from recbench.method import Reporter, Silent
from recbench.protocol import EvalProtocol
from recbench.sources import READERS, codes
from recbench.sources.locate import RawFiles, locate
from recbench.sources.log import Log, filtered
from recbench.split import PreparedSplit, appended, load_split

FORMAT = 1
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
    """The split of a data set under a protocol, from `cache/split/` where it was made before.

    `limit_users` draws that many users by `data_seed`, for training and requests; the catalogue stays
    whole. Raises MissingError (no raw files, no room for the result), DataError (malformed files) and
    CheckError (not the statistics that the card expects).
    """
    if limit_users is not None and limit_users < 1:
        raise UsageError(f"--limit-users {limit_users} leaves nobody", mend="--limit-users 100")
    files = locate(card, data_dir=data_dir, cache=cache, offline=offline, report=report)
    key = {
        "format": FORMAT,
        "card": asdict(card),
        "raw": files.digest,
        "source": files.source.format,
        "protocol": protocol.split_part(),
        "limit_users": limit_users,
        "data_seed": None if limit_users is None else data_seed,
    }
    folder = cache / "split" / digest.short(digest.of_json(key))
    if not (folder / "split.json").exists():
        log = _read(card, files, report)
        given = None if files.codes is None else codes.read(files.codes, log.item_ids, report=report)
        held_out = leave_one_out(log, drawn_users(len(log.user_ids), limit_users, data_seed))
        facts = {"limit_users": limit_users, "data_seed": data_seed, "source": files.source.format}
        content = _contents(card, protocol, log, held_out, given=given, raw=files.digest, facts=facts)
        _publish(content, folder)
    return load_split(folder)


def _read(card: DatasetCard, files: RawFiles, report: Reporter) -> Log:
    raw = READERS[files.source.format](files.source, files.interactions, files.items, report=report)
    try:
        log = filtered(raw, card.filter)
    except DataError as error:
        raise DataError(f"{files.interactions}: {error.what}", why=error.why) from None
    if card.expect is not None:
        expected = asdict(card.expect)
        got = {"users": len(log.user_ids), "items": len(log.item_ids), "interactions": log.num_interactions}
        if got != expected:
            raise CheckError(
                f"data set '{card.name}' is not what its card expects",
                why="\n".join(f"{name}: expected {expected[name]:,}, got {got[name]:,}" for name in expected)
                + f"\nfrom {files.interactions} and {files.items}; rules: {dict(log.counts)}",
                mend=f"get the files that the card describes, or change [expect] in {card.name}.toml",
            )
    return log


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeldOut:
    """A log after leave-one-out, for the users of the split."""

    users: Ints  # [U] rows of the log's user table
    training: Ragged  # U rows
    valid: Ints  # [U]
    test: Ints  # [U]
    tied_valid: int
    tied_test: int
    """Targets that would be another item if interactions of the same moment were ordered otherwise."""


def drawn_users(num_users: int, limit: int | None, seed: int) -> Ints:
    """All users, or a random subset in ascending order. A smaller limit draws a part of a larger one's."""
    if limit is None or limit >= num_users:
        return np.arange(num_users)
    return np.sort(np.random.default_rng(seed).permutation(num_users)[:limit])


def leave_one_out(log: Log, users: Ints) -> HeldOut:
    """Hold out the last two items of `users`; each has at least three."""
    sequences = log.sequences.take(users)
    moments = Ragged(log.sequences.offsets, log.moments).take(users).values
    last = sequences.offsets[1:] - 1
    is_training = np.ones(len(sequences.values), dtype=bool)
    is_training[np.concatenate([last, last - 1])] = False
    test_tie = moments[last] == moments[last - 1]
    return HeldOut(
        users=users,
        training=Ragged(sequences.offsets - 2 * np.arange(len(users) + 1), sequences.values[is_training]),
        valid=sequences.values[last - 1],
        test=sequences.values[last],
        tied_valid=int((test_tie | (moments[last - 1] == moments[last - 2])).sum()),
        tied_test=int(test_tie.sum()),
    )


def chained_digests(
    log: Log, split: HeldOut, protocol: EvalProtocol, *, raw: str, given: Ints | None = None
) -> dict[str, str]:
    """raw, log, split, catalogue; `given` codes belong to the catalogue.

    The chain starts from the log's content, so that another order of the rows, or another raw format of the
    same content, changes only `raw`.
    """
    in_order = arrays_of(log.sequences, "sequences") | ({"times": log.moments} if log.timestamped else {})
    of_log = digest.of_json(
        {"users": log.user_ids, "items": log.item_ids, "sequences": digest.of_arrays(in_order)}
    )
    parts = arrays_of(split.training, "training") | {"valid": split.valid, "test": split.test}
    of_split = digest.of_json(
        {
            "log": of_log,
            "protocol": protocol.split_part(),
            "parts": digest.of_arrays(parts | {"users": split.users}),
        }
    )
    catalogue = {"split": of_split, "items": log.item_ids, "texts": log.texts}
    of_catalogue = digest.of_json(catalogue | ({} if given is None else {"codes": given.tolist()}))
    return {"raw": raw, "log": of_log, "split": of_split, "catalogue": of_catalogue}


def statistics(log: Log, split: HeldOut) -> dict[str, Any]:
    """Counts of the filtered log, of the split, and of what each rule removed."""
    lengths = log.sequences.lengths
    num_users, num_items = len(log.user_ids), len(log.item_ids)
    return {
        "users": num_users,
        "items": num_items,
        "interactions": log.num_interactions,
        "density": log.num_interactions / (num_users * num_items),
        "sequence_length": {
            "min": int(lengths.min()),
            "median": float(np.median(lengths)),
            "mean": float(lengths.mean()),
            "max": int(lengths.max()),
        },
        "distinct_titles": len({text.title for text in log.texts}),
        "split_users": len(split.users),
        "training_interactions": len(split.training.values),
        "training_targets": int((split.training.lengths - 1).sum()),
        "tied_targets": {"valid": split.tied_valid, "test": split.tied_test},
        "rules": dict(log.counts),
    }


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
    user = np.arange(len(split.users), dtype=np.int32)
    histories = {"valid": split.training, "test": appended(split.training, split.valid)}
    catalogue = {
        "item_ids": log.item_ids,
        "titles": [text.title for text in log.texts],
        "categories": [text.categories for text in log.texts],
    } | ({} if given is None else {"codes": given.tolist()})
    files = {
        "catalogue.json": _json(catalogue),
        "users.json": _json([log.user_ids[row] for row in split.users]),
        "training.npz": _npz(arrays_of(split.training, "sequences")),
        "valid.npz": _npz({"target": split.valid}),
        "targets_test.npz": _npz({"target": split.test}),
    }
    for phase, history in histories.items():
        window = arrays_of(history.last(protocol.history), "history")
        files[f"requests_{phase}.npz"] = _npz({"user": user, **window})
    record = {
        "dataset": card.name,
        "title": card.title,
        "noun": card.noun,
        "history": protocol.history,
        **facts,
        "digests": chained_digests(log, split, protocol, raw=raw, given=given),
        "statistics": statistics(log, split),
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
            mend="free some space there, make it writable, or name another place with --root DIR",
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
