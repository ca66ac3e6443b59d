"""Add methods to the text of a study, whose comments and layout stay."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Sequence

from recbench.errors import UsageError

LIST = re.compile(r"""(?m)^methods\s*=\s*\[(?:[^\]"'#]|"(?:\\.|[^"\\\n])*"|'[^'\n]*'|\#[^\n]*\n)*\]""")
"""The list of methods, up to its end; a bracket in a name or in a comment does not end it."""


def with_methods(text: str, added: Sequence[str]) -> str:
    """The study with `added` at the end of its list of methods.

    UsageError where the list cannot be found, or where a comment stands before its end.
    """
    if not added:
        return text
    before, found = tomllib.loads(text), LIST.search(text)
    if found is not None:
        inside = found[0][:-1].rstrip()
        names = ", ".join(json.dumps(name, ensure_ascii=False) for name in added)
        longer = f"{inside}{'' if inside.endswith((',', '[')) else ','} {names}]"
        after = text[: found.start()] + longer.replace("[ ", "[") + text[found.end() :]
        if _table(after) == {**before, "methods": [*before["methods"], *added]}:
            return after
    raise UsageError(
        f"the study's list of methods cannot be extended by {', '.join(added)}",
        why="its file does not write the list as methods = [...] without a comment at the end",
        fix="add them to study.toml by hand",
    )


def _table(text: str) -> object:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None
