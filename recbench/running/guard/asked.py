"""The process in which a third party's class is asked, bound as its workers are: what it may not read then it
cannot read before, and hand on. `python -m recbench.running.guard.asked TEMPORARY [ROOT]`."""

from __future__ import annotations

import sys
from pathlib import Path

from recbench.base.lifetime import end_with_parent
from recbench.base.root import discover
from recbench.planning.plugins import plugin_host
from recbench.running.guard import process
from recbench.running.guard.bounds import bounds
from recbench.running.guard.closed import closed_for_all


def main(arguments: list[str]) -> int:
    temporary, *named = arguments
    end_with_parent()
    root = discover(Path(named[0]) if named else None)
    limits = bounds(
        closed=closed_for_all(root), cache=root.cache, written=(), temporary=Path(temporary), alone=True
    )
    probe = process.probe_in(root.cache)
    process.enter(limits, mode=root.guard, method=(), probe=probe, tell=lambda _found: None)
    return plugin_host.main()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
