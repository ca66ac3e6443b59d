"""The folder of a board, `leaderboards/<name>/`: the board in every form, and the records that it is made of.

A record is a bundle without the files that no board needs, so the folder is enough to rebuild the board.
"""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from recbench.base import files
from recbench.base.words import is_plain
from recbench.board import build, overview, recheck, render
from recbench.board.exposure.of_runs import kept
from recbench.board.model import Board
from recbench.board.overview import BOARD
from recbench.errors import CheckError, DigestError, MissingError, RecbenchError
from recbench.planning import study, study_runs
from recbench.planning.study import Study
from recbench.results import bundle
from recbench.results.bundle import BULKY, Bundle

RECORDS = "records"
BUILT = ".built"
"""The folder of a complete build whose parts are not in their places yet."""
Form = Callable[[Board, Sequence[Bundle]], str]
FORMS: Mapping[str, Form] = {
    "board.md": lambda board, _: render.markdown(board),
    "board.tex": lambda board, _: render.latex(board),
    "index.html": render.html,
}
"""From the board and its runs, of which the page shows each user's rank."""
TOLERANCE = 1e-6  # of a float's value; below SMALLEST_DIFFERENCE it is rounding
SMALLEST_DIFFERENCE = 1e-12
MOST_DIFFERENCES = 5  # that a check names


def write(folder: Path, board: Board, bundles: Sequence[Bundle]) -> list[str]:
    """Write the board, its forms and the records of all `bundles`; return the names of the forms.

    The new board is complete in a folder of its own before a file of the old one is touched, so a full disk
    leaves the old one whole, and a build that is killed later is completed by `settle`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settle(folder)
    with files.new_folder(folder / BUILT) as staged:
        (staged / RECORDS).mkdir()
        for run in bundles:
            with files.naming(staged / RECORDS / run.id):
                shutil.copytree(run.path, staged / RECORDS / run.id, ignore=shutil.ignore_patterns(*BULKY))
        _write_forms(staged, board, bundles)
    settle(folder)
    return [BOARD, *FORMS]


def mark(folder: Path, board: Board, verified: Sequence[str]) -> None:
    """Let the board in `folder` say what was verified of its records."""
    with files.new_folder(folder / BUILT) as staged:
        _write_forms(staged, replace(board, verified=tuple(verified)), read(folder))
    settle(folder)


def _write_forms(folder: Path, board: Board, runs: Sequence[Bundle]) -> None:
    texts = {BOARD: dumps(board.to_json()) + "\n"} | {name: form(board, runs) for name, form in FORMS.items()}
    for name, text in texts.items():
        with files.naming(folder / name):
            (folder / name).write_text(text, encoding="utf-8")


def settle(folder: Path) -> None:
    """Move the parts of a complete build to their places; a part that is there already is replaced.

    Then the page over all boards is made again.
    """
    built = folder / BUILT
    if not built.is_dir() or built.is_symlink():  # what is behind a link is somebody else's
        return
    for part in sorted(built.iterdir()):
        place = folder / part.name
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        part.replace(place)
    overview.write(folder.parent)
    built.rmdir()


def read(folder: Path) -> list[Bundle]:
    """The records of a board, each verified. DigestError for one that has changed."""
    settle(folder)
    return [bundle.load(path, record=True) for path in bundle.find(folder / RECORDS)]


def there(folder: Path) -> Board | None:
    """The board in the folder, unchecked; None where there is none that this version reads."""
    try:
        return Board.from_json(json.loads((folder / BOARD).read_text(encoding="utf-8")))
    except (OSError, RecursionError, KeyError, TypeError, ValueError, AttributeError):
        return None


def boards_of(root: Path) -> list[Path]:
    """The folders of a root's boards, by name."""
    return sorted(path.parent for path in root.glob(f"leaderboards/*/{BOARD}"))


def study_of(folder: Path) -> Study | None:
    """The study in the folder; None for a board of no study."""
    path = folder / study.FILE
    return study.read(path) if path.is_file() else None


def missing(folder: Path, bundles: Sequence[Bundle]) -> list[str]:
    """The runs of the folder's study that have not finished."""
    declared = study_of(folder)
    return [] if declared is None else study_runs.missing(declared, bundles, folder.parent.parent)


def check(folder: Path) -> Board:
    """Rebuild the board in `folder` from its records; return it, or raise CheckError with what differs.

    Needs no data: that the lists have the held-out items at their ranks is for `recbench verify` to say.
    Numbers may differ from the sixth significant digit on; the forms, made from the committed board.json,
    must be equal byte for byte.
    """
    settle(folder)
    if links := _no_plain_files(folder):
        raise _not_as_recorded(folder, [f"{name} is a link or no plain file" for name in links])
    if not (folder / BOARD).exists():
        raise MissingError(f"there is no board in {folder}", fix="recbench leaderboard build")
    try:
        committed = json.loads((folder / BOARD).read_text(encoding="utf-8"))
        board = Board.from_json(committed)
    except (OSError, RecursionError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise _not_as_recorded(folder, [f"{BOARD} is not a board: {type(error).__name__} {error}"]) from error
    if not all(is_plain(line) for line in board.verified):
        raise _not_as_recorded(folder, ["what it says of its verification is no plain text"])
    if not _is_harmless(board.command):
        raise _not_as_recorded(folder, [f"its command is not one of recbench: {board.command!r}"])
    records, problems = _records(folder)
    if not problems:
        problems = [
            *_records_problems(folder, records, board, committed),
            *_form_problems(folder, board, records),
        ]
    if not problems and folder.name != overview.LOCAL:
        problems = overview.problems(folder.parent)
    if problems:
        raise _not_as_recorded(folder, problems)
    return board


def _no_plain_files(folder: Path) -> list[str]:
    """Links, pipes and devices of a board: who follows one reads, or publishes, what is elsewhere."""
    inside = sorted(folder.rglob("*"))
    odd = [path for path in inside if path.is_symlink() or not (path.is_file() or path.is_dir())]
    return [path.relative_to(folder).as_posix() for path in odd]


def _is_harmless(command: str) -> bool:
    """Whether a reader may copy the command into a shell: one call of recbench, and nothing else."""
    words = command.split()
    plain_words = all(re.fullmatch(r"[\w@%+=:,./\[\]-]+", word, re.ASCII) for word in words)
    return words[:2] == ["recbench", "leaderboard"] and plain_words and is_plain(command)


def _not_as_recorded(folder: Path, problems: Sequence[str]) -> CheckError:
    return CheckError(
        f"the board in {folder} is not what its records give",
        why="; ".join(problems),
        fix="recbench leaderboard build, from the runs",
    )


def _records(folder: Path) -> tuple[list[Bundle], list[str]]:
    """The records, or why they cannot be read."""
    try:
        return read(folder), []
    except DigestError as error:
        return [], [f"{error.what} ({error.why})"]
    except (RecbenchError, KeyError, TypeError, AttributeError) as error:
        return [], [_unbuilt(error)]


def _unbuilt(error: Exception) -> str:
    return f"no board can be built from the records: {error}"


def _records_problems(
    folder: Path, records: Sequence[Bundle], board: Board, committed: Mapping[str, Any]
) -> list[str]:
    try:
        rebuilt = build.build(
            records,
            metric=board.metric,
            reference=board.reference,
            pairs=board.pairs,
            missing=missing(folder, records),
            command=board.command,
            exposure=kept(board),
        )
    except DigestError as error:
        return [f"{error.what} ({error.why})"]
    except (RecbenchError, KeyError, TypeError, AttributeError) as error:
        return [_unbuilt(error)]
    rebuilt = replace(rebuilt, verified=board.verified)
    found = list(differences(committed, json.loads(dumps(rebuilt.to_json()))))
    found += [
        f"record {run.id} ({run.label}): {wrong}"
        for run in records
        if run.status == "complete"
        for wrong in recheck.from_itself(run)
    ]
    more = len(found) - MOST_DIFFERENCES
    return [*found[:MOST_DIFFERENCES], *([f"{more} more differences"] if more > 0 else [])]


def _form_problems(folder: Path, board: Board, runs: Sequence[Bundle]) -> Iterator[str]:
    for name, form in FORMS.items():
        path = folder / name
        try:
            same = path.is_file() and path.read_bytes() == form(board, runs).encode()
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            yield f"{name} cannot be made from {BOARD}: {type(error).__name__} {error}"
            continue
        if not same:
            pinned = " (made with the jinja2 of constraints.txt?)" if name.endswith(".html") else ""
            yield f"{name} is not what {BOARD} gives{pinned}" if path.is_file() else f"{name} is missing"


def differences(a: Any, b: Any, position: str = "board") -> Iterator[str]:
    """Where two JSON values differ, with both values; floats that agree to six digits do not."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in sorted(a.keys() | b.keys()):
            inside = f"{position}.{key}"
            if key in a and key in b:
                yield from differences(a[key], b[key], inside)
            else:
                yield f"{inside} is only in the {'committed' if key in a else 'rebuilt'} board"
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for index, (inner, other) in enumerate(zip(a, b, strict=True)):
            yield from differences(inner, other, f"{position}[{index}]")
    elif float in (type(a), type(b)) and {type(a), type(b)} <= {float, int}:
        if not math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=SMALLEST_DIFFERENCE):
            yield f"{position}: {a} and rebuilt {b}"
    elif a != b or type(a) is not type(b):
        yield f"{position}: {_cut(a)} and rebuilt {_cut(b)}"


def _cut(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."


def dumps(value: Any, indent: str = "") -> str:
    """Readable JSON, lists of plain values on one line. ValueError for NaN."""
    inner = indent + " "
    if isinstance(value, Mapping) and value:
        lines = [f"{json.dumps(key, ensure_ascii=False)}: {dumps(value[key], inner)}" for key in value]
        return "{\n" + ",\n".join(inner + line for line in lines) + f"\n{indent}}}"
    if isinstance(value, list | tuple) and any(isinstance(part, Mapping | list | tuple) for part in value):
        return "[\n" + ",\n".join(inner + dumps(part, inner) for part in value) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
