"""Text for people: sizes and counts in words, and names and messages made safe to show."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

BIDIRECTIONAL = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Marks that change the order in which characters appear."""
HIDDEN = re.compile(rf"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029{BIDIRECTIONAL}]")
LITTLE_GAIN = 0.1
"""Nats. Semantic ids whose first code gains less than this over its unigram are hardly better than random
ones; these have about 0."""
PASSWORD = re.compile(r"(?<=://)([^\s/@:]*):([^\s/@]+)@(?=[\w\[.-])")


def plain(text: str) -> str:
    r"""Write control and bidirectional characters as `\x1b`, `\u202e`: a terminal does not obey them."""
    return HIDDEN.sub(lambda match: _escaped(match[0]), text)


def masked(text: str) -> str:
    """Replace the password of every address in `text` by `***`."""
    return PASSWORD.sub(r"\1:***@", text)


def shown(text: str) -> str:
    """Text as it may go to a terminal: plain and masked."""
    return plain(masked(text))


def is_plain(text: str) -> bool:
    return not HIDDEN.search(text) and "\n" not in text and "\t" not in text


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def size_text(num_bytes: float) -> str:
    """`num_bytes` in the largest unit that gives at least 1."""
    units = ("B", "KiB", "MiB", "GiB", "TiB")
    power = 0
    while num_bytes >= 1024 and power + 1 < len(units):
        num_bytes, power = num_bytes / 1024, power + 1
    return f"{num_bytes:.0f} {units[power]}" if power == 0 else f"{num_bytes:.1f} {units[power]}"


def plural(count: int, noun: str, many: str = "") -> str:
    """`1 run`, `2,000 runs`; `many` is the plural where it is not the noun with an s."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"


def gain_lines(identifiers: str | None, facts: Mapping[str, Any]) -> list[str]:
    """What a user should know of the semantic ids with this digest, with a warning where they predict hardly
    anything. Empty for facts of other identifiers, and for values that are none."""
    from recbench.base.digest import short  # loads numpy, which --help does without

    if identifiers is None:
        return []
    try:
        gain, collided, moved = (facts[key] for key in ("predictive_gain", "collision_rate", "num_moved"))
        made = ", ".join(facts[key] for key in ("source", "embedding") if key in facts)
        name = f"semantic ids {short(identifiers)}"
        lines = [
            f"{name} ({made}): the first code gains {gain:.2f} nats, {collided:.1%} collided, "
            f"{moved:d} items were moved to free codes"
        ]
        if gain < LITTLE_GAIN:
            lines.append(
                f"warning: {name} predict hardly more than random ones (a gain below {LITTLE_GAIN} nats); "
                "try --set identifiers.embedding=collaborative"
            )
    except (KeyError, TypeError, ValueError):  # facts are what a method's process wrote
        return []
    return lines
