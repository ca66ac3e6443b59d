"""The audit hook: it refuses what is out of bounds, and tells that and what is started.

It sees what Python code does, in the process that has it and in copies of that; no C++, and no other program.
"""

from __future__ import annotations

import errno
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache
from importlib.metadata import EntryPoint
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from recbench.running.guard.bounds import Bounds, longest, real_path

Tell = Callable[[Mapping[str, str]], None]
"""Takes what was found, as `marks` or `seen`."""
Origin = Literal["method", "recbench", "library"]

OWN = ("recbench", "recbench_methods")
STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty")
CONNECTIONS = ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto")
CHANGES = ("os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.rename", "os.link", "os.symlink")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def hook(limits: Bounds, method: Collection[str], tell: Tell) -> Callable[[str, tuple[Any, ...]], None]:
    """An audit hook: PermissionError for what is out of bounds, and `tell` for that and for starts.

    Each thing is told once. A refused access to something closed is a mark; a change elsewhere, a start and
    a connection are one if the method's own code, in the packages `method`, does it.
    """
    kind, alone = kinds(method), "library" if set(method) <= set(OWN) else "method"
    told: set[str] = set()
    known: dict[str, str] = {}

    def real(name: str) -> str:
        """As os.path.realpath; folders that no method changes, as those of libraries, are resolved once."""
        top, last = os.path.split(os.path.join(os.getcwd(), name))
        if not last or "/../" in f"{top}/" or last in ("..", "."):
            return os.path.realpath(name)
        folder = known.get(top)
        if folder is None:
            folder = os.path.realpath(top)
            if not limits.may_write(folder) and not limits.may_write(top):
                known[top] = folder
        path = os.path.join(folder, last)
        return os.path.realpath(path) if os.path.islink(path) else path

    def record(what: str, frame: FrameType, *, mark: bool = False) -> None:
        whose = origin(frame, kind) or alone
        text = f"{what} by {'the method' if whose == 'method' else whose}"
        if text not in told:
            told.add(text)
            tell({"marks" if mark or whose == "method" else "seen": text})

    def check(verb: str, path: str, frame: FrameType) -> None:
        if not (limits.may_read(path) if verb == "read" else limits.may_write(path)):
            record(f"{verb} of {_short(path)} refused,", frame, mark=not limits.may_read(path))
            raise PermissionError(errno.EACCES, f"the guard of recbench lets no method {verb} this", path)

    def audit(event: str, details: tuple[Any, ...]) -> None:
        if event not in watched:
            return
        frame = sys._getframe(1)
        if event == "open":
            name, mode, flags = details
            for verb, path in _opened(name, mode, flags, real):
                check(verb, path, frame)
        elif event in CHANGES:
            for path in _changed(event, details):
                check("change", path, frame)
            if event == "os.link":
                check("read", _at(details[0], details[2]), frame)
        elif event in STARTS:
            record(f"start of {_program(event, details)}", frame)
        else:
            record(f"connection to {_address(event, details)}", frame)

    watched = frozenset(("open", *CHANGES, *STARTS, *CONNECTIONS))
    return audit


def _opened(
    path: Any, mode: str | None, flags: int, resolve: Callable[[str], str]
) -> Iterator[tuple[Literal["read", "change"], str]]:
    """What opening a file does, in the terms of an audit event."""
    if path is None or isinstance(path, int):
        return
    name = os.fsdecode(path)
    real = resolve(name)
    yield "read", real
    # os.open does not tell from which folder a relative name starts, so what it changes is unknown
    if flags & WRITING and (mode is not None or os.path.isabs(name)):
        yield "change", real


def _changed(event: str, details: tuple[Any, ...]) -> Iterator[str]:
    """The paths that an event changes; without a folder to make that exists, and a file to remove that does
    not, which the kernel refuses for that reason."""
    if event == "os.truncate":
        yield os.path.realpath(f"/proc/self/fd/{details[0]}" if isinstance(details[0], int) else details[0])
    elif event == "os.rename":
        yield _at(details[0], details[2])
        yield _at(details[1], details[3])
    elif event in ("os.link", "os.symlink"):
        yield _at(details[1], details[-1])
    else:
        path = _at(details[0], details[-1])
        if os.path.lexists(path) != (event == "os.mkdir"):
            yield path


def _at(path: str | bytes | os.PathLike[str], folder: int) -> str:
    """The real path of a name, whose last part is not followed; `folder` is the descriptor that a relative
    one starts from."""
    name = os.fsdecode(path)
    if not os.path.isabs(name) and folder >= 0:
        name = os.path.join(os.path.realpath(f"/proc/self/fd/{folder}"), name)
    top, last = os.path.split(name)
    return os.path.join(os.path.realpath(top), last)


def _short(path: str) -> str:
    return os.path.join(*path.split(os.sep)[-2:])


def _program(event: str, details: tuple[Any, ...]) -> str:
    if event in ("os.fork", "os.forkpty"):
        return "a copy of itself"
    if event == "os.system":
        return os.fsdecode(details[0]).split(" ")[0]
    named = details[1] if event == "os.spawn" else details[0]
    if named is None and len(details) > 1 and details[1]:
        named = details[1][0]
    known = isinstance(named, str | bytes | os.PathLike)
    return os.path.basename(os.fsdecode(named)) if known else "a process"


def _address(event: str, details: tuple[Any, ...]) -> str:
    address = details[0] if event == "socket.getaddrinfo" else details[-1]
    return str(address[0] if isinstance(address, tuple) and address else address)


def packages(point: EntryPoint | None) -> list[str]:
    """The top-level packages of a method's distribution, as far as it names them."""
    if point is None:
        return []
    named = (point.dist.read_text("top_level.txt") or "").split() if point.dist is not None else []
    return sorted({*named, point.module.partition(".")[0]})


def kinds(method: Collection[str]) -> Callable[[str], str]:
    """Tells from a code's file whose it is: `import`, `recbench`, `library`, `method`, or `` (Python's own).

    `method` are packages of the method's distribution.
    """
    own = [home for name in OWN if (home := _home(name))]
    theirs = [home for name in method if name not in OWN and (home := _home(name))]
    paths = sysconfig.get_paths()
    installed = [real_path(Path(paths[name])) for name in ("purelib", "platlib")]
    python = [real_path(Path(paths[name])) for name in ("stdlib", "platstdlib")]

    @cache
    def kind(file: str) -> str:
        if file.startswith("<"):
            return "import" if file.startswith("<frozen importlib") else ""
        path = os.path.realpath(file)
        for name, tops in (("method", theirs), ("recbench", own), ("library", installed), ("", python)):
            if longest(path, tops):
                return name
        return "library"

    return kind


def origin(frame: FrameType | None, kind: Callable[[str], str]) -> Origin | None:
    """Who does what the innermost `frame` does: the nearest code that is recbench's or the method's.

    Code of libraries acts for its caller, but not while it is imported, nor in a thread of its own. None
    where nothing but Python's own code runs, as in a thread that runs subprocess.run.
    """
    imported = library = False
    while frame is not None:
        whose = kind(frame.f_code.co_filename)
        if whose == "recbench":
            return "recbench"
        if whose == "method":
            return "library" if imported and library else "method"
        imported, library = imported or whose == "import", library or whose == "library"
        frame = frame.f_back
    return "library" if library else None


def _home(package: str) -> str:
    """The folder of a package, or the file of a module; empty where it is not found."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return ""
    if spec is None:
        return ""
    places = list(spec.submodule_search_locations or [])
    return real_path(Path(places[0] if places else spec.origin or ""))
