"""Text that is safe to show: what names, titles and messages of others could hide is made visible."""

from __future__ import annotations

import re

BIDIRECTIONAL = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Marks that change the order in which characters appear."""
HIDDEN = re.compile(rf"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029{BIDIRECTIONAL}]")
PASSWORD = re.compile(r"(?<=://)([^\s/@:]*):([^\s/@]+)@(?=[\w\[.-])")


def plain(text: str) -> str:
    r"""Write control and bidirectional characters as `\x1b`, `\u202e`: a terminal does not obey them."""
    return HIDDEN.sub(lambda match: _escaped(match[0]), text)


def masked(text: str) -> str:
    """Replace the password of every address in `text` by `***`."""
    return PASSWORD.sub(r"\1:***@", text)


def is_plain(text: str) -> bool:
    return not HIDDEN.search(text) and "\n" not in text and "\t" not in text


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
