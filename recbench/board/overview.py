"""`leaderboards/index.html`: all boards at a glance, made from their `board.json` whenever one is written.

The board called `local` is that of one machine, which git ignores, so it is not among them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from recbench.base import files
from recbench.board.model import Board
from recbench.board.render.overview import BoardOfMany, overview
from recbench.planning import study

LOCAL = "local"
PAGE = "index.html"
BOARD = "board.json"
NAME = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)


def write(boards: Path) -> None:
    """Make the page again from all boards below `boards`; without any it is taken away."""
    found = boards_in(boards)
    if any(one.board is not None for one in found):
        files.write_text(boards / PAGE, overview(found))
    else:
        (boards / PAGE).unlink(missing_ok=True)


def problems(boards: Path) -> list[str]:
    """Why the page is not what the boards give; empty where it is."""
    path = boards / PAGE
    if not path.is_file() or path.is_symlink():
        return [f"{PAGE} over all boards is missing"]
    same = path.read_bytes() == overview(boards_in(boards)).encode()
    return [] if same else [f"{PAGE} over all boards is not what they give"]


def boards_in(boards: Path) -> Sequence[BoardOfMany]:
    """By name; folders with neither a board nor a study are passed over."""
    folders = sorted(path for path in boards.iterdir() if path.is_dir() and NAME.fullmatch(path.name))
    return [one for path in folders if path.name != LOCAL and (one := _read(path))]


def _read(folder: Path) -> BoardOfMany | None:
    if not (folder / BOARD).is_file():
        wanted = (folder / study.FILE).is_file()
        return BoardOfMany(name=folder.name, board=None, problem="") if wanted else None
    try:
        board = Board.from_json(json.loads((folder / BOARD).read_text(encoding="utf-8")))
    except (OSError, RecursionError, KeyError, TypeError, ValueError, AttributeError):
        return BoardOfMany(name=folder.name, board=None, problem="its board.json cannot be read")
    return BoardOfMany(name=folder.name, board=board, problem="")
