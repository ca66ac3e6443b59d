"""One thing that has a name: what it is, its parameters, its values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from recbench.base.fields import FieldDoc

ARXIV = re.compile(r"\barXiv (\d{4}\.\d{4,5})")
DOI = re.compile(r"\bdoi (10\.\d{4,}/[\w.()/-]*\w)")
CODE = re.compile(r"\bcode ([A-Za-z0-9][\w-]*/[\w.-]*\w)")
"""A repository of GitHub, as the methods name the authors' code."""
ADDRESS = re.compile(r"https?://[^\s;,)`]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Values that take the place of defaults."""

    name: str
    """As `preset=NAME`, or the backbones and protocols for which it holds."""
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedEntry:
    kind: str
    """`method`, `dataset`, `backbone`, `paradigm`, `protocol`, `ranker`, `metric` or `setting`."""
    name: str
    about: str
    """The first line says what it is."""
    links: Sequence[str] = ()
    """Papers and code."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    parameters: Sequence[FieldDoc] = ()
    tried: Mapping[str, Any] = field(default_factory=dict)
    """By parameter, the values that `recbench tune` tries, or such values by backbone."""
    presets: Sequence[Preset] = ()
    origins: Mapping[str, str] = field(default_factory=dict)
    """Where the values of `presets` and of `tried` come from."""
    use: str = ""
    """How a command asks for it."""

    @property
    def first_line(self) -> str:
        return self.about.partition("\n")[0]

    def to_json(self) -> dict[str, Any]:
        record = asdict(self)
        return record | {
            "parameters": [{**asdict(one), "tried": self.tried.get(one.name)} for one in self.parameters]
        }


def number_text(value: object) -> str:
    """A number in its shortest form, and other values as they are."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def links_in(text: str) -> list[str]:
    """The addresses of the papers and of the code that a text names, in its order."""
    found = [(match.start(), f"https://arxiv.org/abs/{match[1]}") for match in ARXIV.finditer(text)]
    found += [(match.start(), f"https://doi.org/{match[1]}") for match in DOI.finditer(text)]
    found += [(match.start(), f"https://github.com/{match[1]}") for match in CODE.finditer(text)]
    found += [(match.start(), match[0].rstrip(".")) for match in ADDRESS.finditer(text)]
    return list(dict.fromkeys(address for _, address in sorted(found)))
