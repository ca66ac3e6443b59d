"""Read given semantic ids: a JSON object from item id to codes, `{"0": ["<a_240>", "<b_118>", ...], ...}`."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recbench.base.progress import Reporter
from recbench.data import Ints
from recbench.dataset.sources.raw import lines
from recbench.errors import DataError

LEVELS = "abcdefghijklmnop"


def read(path: Path, item_ids: Sequence[str], *, report: Reporter) -> Ints:
    """[I, L] the codes of these items; codes of other items are ignored.

    Ids and codes are stripped of white space. DataError where two ids are equal after this, where an item
    has no codes, and where the codes of an item are not one for each level, in order, without leading zeros
    (`<a_7>` and `<a_07>` would be two tokens of one code).
    """
    try:
        pairs = json.loads("".join(lines(path, report=report)), object_pairs_hook=tuple)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: not valid JSON", why=error.msg) from None
    if not isinstance(pairs, tuple):
        raise DataError(f"{path} is not a JSON object from item id to codes")
    codes_of: dict[str, Any] = {}
    for name, codes in pairs:
        if name.strip() in codes_of:
            raise DataError(
                f"{path}: item '{name.strip()}' has codes twice",
                why="ids are compared without white space around them",
            )
        codes_of[name.strip()] = codes
    missing = [item for item in item_ids if item not in codes_of]
    if missing:
        raise DataError(
            f"{path} has no codes for {len(missing):,} of {len(item_ids):,} items",
            why=f"the first: {', '.join(missing[:5])}",
            fix=f"remove the file ({path.name} is optional), or bring a file that covers the catalogue",
        )
    table = [_numbers(path, item, codes_of[item]) for item in item_ids]
    widths = sorted({len(row) for row in table})
    if len(widths) > 1:
        odd = next(item for item, row in zip(item_ids, table, strict=True) if len(row) != len(table[0]))
        raise DataError(f"{path}: item '{odd}' has another number of codes than item '{item_ids[0]}'")
    return np.array(table, dtype=np.int64)


def _numbers(path: Path, item: str, codes: Any) -> list[int]:
    if not isinstance(codes, list) or not 0 < len(codes) <= len(LEVELS):
        raise DataError(f"{path}: item '{item}' has {codes!r} instead of a list of codes")
    numbers = []
    for level, code in zip(LEVELS, codes, strict=False):
        match = re.fullmatch(rf"\s*<{level}_(0|[1-9]\d{{0,8}})>\s*", code) if isinstance(code, str) else None
        if match is None:
            raise DataError(
                f"{path}: item '{item}' has the code {code!r} at level {level}",
                why=f"expected <{level}_NUMBER>",
            )
        numbers.append(int(match[1]))
    return numbers
