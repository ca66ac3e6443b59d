"""Who answers a question about a class: this process for recbench's own, a child for any other package's.

A child lives as long as the command. There is one for each package, so that none reaches what another says;
a question about classes of several packages has a child of these.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from recbench.base.extensions import points
from recbench.base.extensions.code import modules
from recbench.planning.plugins import kept, plugin_host
from recbench.planning.plugins.host import Host


def ask(
    question: Mapping[str, Any], asked: Sequence[EntryPoint], *, who: str, root: Path | None, keep: bool
) -> Any:
    """The answer to a question about the classes of the entry points `asked`.

    With `keep` it is kept in the cache of `root` until a file that gave it changes: for what a class says of
    itself alone, not of the machine. `who` is named where the child ends.
    """
    foreign = [point for point in asked if not points.is_own(point)]
    if not foreign:
        return plugin_host.answer(question)
    file = kept.file_of(root, asked, question) if root is not None and keep else None
    known = None if file is None else kept.read(file)
    if known is not None:
        return known
    owners = tuple(sorted({points.owner(point) for point in foreign}))
    found = _host(owners, tuple(sys.path), root).ask(question, who)
    if file is not None:  # the child tells what it had loaded; what it must have loaded is known here
        own = kept.states(str(path) for point in foreign for path in modules(point).values())
        kept.write(file, found["answer"], {**found["files"], **own})
    return found["answer"]


@lru_cache(maxsize=8)
def _host(_owners: tuple[str, ...], path: tuple[str, ...], root: Path | None) -> Host:
    return Host(path, root)
