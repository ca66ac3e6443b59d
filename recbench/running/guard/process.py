"""Bind a process before a plugin is loaded, and its Python children.

`python -m recbench.running.guard.process BOUNDS MODULE ...` runs a module under the hook, as a child of a
worker. Landlock needs no such thing: children are bound as their parent is.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from recbench.results.guarded import AUDIT, NONE
from recbench.running.guard import landlock
from recbench.running.guard.audit import Tell, hook
from recbench.running.guard.bounds import Bounds

Mode = Literal["landlock", "audit", "off"]


def enter_telling(
    limits: Bounds, *, mode: Mode, method: Collection[str], cache: Path, folder: Path, descriptor: int
) -> tuple[str, ...]:
    """Bind this process as `enter` does, and tell through `descriptor` by what and all that is found.

    The command that starts a Python module in a bound child; `folder` keeps what such a child reads.
    """
    command = module_command(limits, folder, method=method, descriptor=descriptor)
    probe = probe_in(cache)
    probe.parent.mkdir(parents=True, exist_ok=True)
    probe.touch()
    tell = teller(descriptor)
    by = enter(limits, mode=mode, method=method, probe=probe, tell=tell)
    tell({"by": by})
    return (sys.executable, "-m") if by == NONE else command


def probe_in(cache: Path) -> Path:
    """A closed file of the cache without content."""
    return cache / "split" / ".guard"


def enter(limits: Bounds, *, mode: Mode, method: Collection[str], probe: Path, tell: Tell) -> str:
    """Bind this process for good, and say by what: `landlock ABI n + audit`, `audit` or `none`.

    `method` are the packages whose starts are marks. `probe` is a closed file without content, which shows
    whether Landlock works on its file system.
    """
    if mode == "off":
        return NONE
    sys.dont_write_bytecode = True  # refused, because other processes run what is written
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    abi = landlock.abi() if mode == "landlock" else 0
    bound = abi > 0 and _bind(limits, abi) and _is_refused(probe)
    sys.addaudithook(hook(limits, method, tell))
    return f"landlock ABI {abi} + audit" if bound else AUDIT


def _bind(limits: Bounds, abi: int) -> bool:
    beside = landlock.around(Path("/"), [Path(path) for path in limits.closed])
    try:
        landlock.restrict([*beside, *map(Path, limits.opened)], map(Path, limits.written), abi)
    except OSError:
        return False
    return True


def _is_refused(path: Path) -> bool:
    try:
        os.close(os.open(path, os.O_RDONLY))
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def teller(descriptor: int) -> Tell:
    """Writes each finding as one event, at once and in one piece."""

    def tell(found: Mapping[str, str]) -> None:
        with suppress(OSError):
            os.write(descriptor, (json.dumps({"event": "guard", **found}) + "\n").encode())

    return tell


def module_command(
    limits: Bounds, folder: Path, *, method: Collection[str], descriptor: int
) -> tuple[str, ...]:
    """The command that starts a Python module in a child under this hook; the module and its arguments
    follow. The child tells through the worker's `descriptor`."""
    file = folder / f"bounds-{os.getpid()}.json"
    through = f"/proc/{os.getpid()}/fd/{descriptor}"
    file.write_text(json.dumps({"bounds": asdict(limits), "method": list(method), "tell": through}))
    return (sys.executable, "-m", "recbench.running.guard.process", str(file))


def main(arguments: list[str]) -> None:
    file, module, *rest = arguments
    record = json.loads(Path(file).read_text())
    limits = Bounds(**{name: tuple(paths) for name, paths in record["bounds"].items()})
    tell = teller(os.open(record["tell"], os.O_WRONLY | os.O_APPEND))
    sys.addaudithook(hook(limits, record["method"], tell))
    sys.argv = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
