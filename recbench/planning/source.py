"""The code of a method, as the run's record has it: distribution, version, commit, and a digest."""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.metadata import EntryPoint
from pathlib import Path

from recbench.base import environment
from recbench.base.extensions.code import digest_of_modules, modules
from recbench.planning import registry
from recbench.results.method_code import MethodCode


def code_of(method: str, *, engine: int | None = None, parent: str | None = None) -> MethodCode:
    """The code that the entry point `method` names. UsageError where there is no such method."""
    point = registry.point_of(method)
    found = modules(point)
    commit, dirty = _commit(point, next(iter(found.values()), None))
    return MethodCode(
        distribution=registry.owner(point),
        version=point.dist.version if point.dist else "unknown",
        digest=digest_of_modules(found),
        modules=sorted(found),
        commit=commit,
        dirty=dirty,
        engine=engine,
        parent=parent,
    )


def _commit(point: EntryPoint, path: Path | None) -> tuple[str | None, bool | None]:
    """The commit that was installed, else that of the checkout in which the module lies, and whether it has
    changes."""
    try:
        origin = json.loads((point.dist and point.dist.read_text("direct_url.json")) or "{}")
        installed = origin.get("vcs_info", {}).get("commit_id")
    except (ValueError, AttributeError):
        installed = None
    if installed is not None or path is None:
        return installed, None
    return _checkout(path.parent)


@lru_cache(maxsize=64)
def _checkout(folder: Path) -> tuple[str | None, bool | None]:
    code = environment.code(folder)
    return code["commit"], code["dirty"]
