"""The guard of a worker: it keeps methods from the test targets, and records what they start.

Landlock binds everything in the process and its children, and tells nothing. The audit hook of Python sees
what Python code opens and starts, refuses what Landlock would, and tells the driver. Both are set before a
plugin is loaded. `python -m recbench.running.guard BOUNDS MODULE ...` runs a module under the hook, as a
child of a worker.
"""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import runpy
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import EntryPoint
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from recbench.base.root import Root
from recbench.dataset import card
from recbench.dataset.sources.locate import folders
from recbench.dataset.split import TARGET_FILES
from recbench.results.guarded import AUDIT, NONE
from recbench.running import landlock

Tell = Callable[[Mapping[str, str]], None]
"""Takes what was found, as `marks` or `seen`."""
Mode = Literal["landlock", "audit", "off"]
Origin = Literal["method", "recbench", "library"]

OWN = ("recbench", "recbench_methods")
STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty")
CONNECTIONS = ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto")
CHANGES = ("os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.rename", "os.link", "os.symlink")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

CACHES = {
    "XDG_CACHE_HOME": "~/.cache",
    "HF_HOME": None,
    "HF_HUB_CACHE": None,
    "TORCH_HOME": None,
    "TORCHINDUCTOR_CACHE_DIR": None,
    "TORCH_EXTENSIONS_DIR": None,
    "TRITON_CACHE_DIR": "~/.triton",
    "CUDA_CACHE_PATH": "~/.nv",
    "NUMBA_CACHE_DIR": None,
    "MPLCONFIGDIR": "~/.config/matplotlib",
}
"""Where libraries keep what they compile and fetch: the variable that moves it, and where it is without."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Paths without symbolic links on their way; of several that hold a file, the longest counts."""

    closed: tuple[str, ...]
    """Neither read nor changed."""
    opened: tuple[str, ...]
    """Read, although it lies in something closed."""
    written: tuple[str, ...]
    """Changed; nothing else is."""

    def may_read(self, path: str) -> bool:
        return _longest(path, self.closed) <= _longest(path, (*self.opened, *self.written))

    def may_write(self, path: str) -> bool:
        return _longest(path, (*self.closed, *self.opened)) < _longest(path, self.written)


def _longest(path: str, tops: Iterable[str]) -> int:
    """The length of the longest of `tops` that is `path` or holds it; 0 where there is none."""
    return max((len(top) for top in tops if path == top or path.startswith(top.rstrip("/") + "/")), default=0)


def bounds(
    *, closed: Iterable[Path], split: Path, cache: Path, written: Iterable[Path], temporary: Path
) -> Bounds:
    """Of a worker that learns from `split`: all other splits and raw files of the cache are closed too.

    `temporary` serves as temporary folder where the usual one lies on the way to something closed: a file
    that is made there later could not be read.
    """
    shut = sorted({_real(path) for path in (*closed, split, cache / "split", cache / "raw")})
    usual = [tempfile.gettempdir(), "/tmp", "/var/tmp"]
    if any(path.startswith(_real(Path(usual[0])) + "/") for path in shut):
        temporary.mkdir(exist_ok=True)
        os.environ["TMPDIR"] = tempfile.tempdir = str(temporary)
        usual = [str(temporary)]
    places = [*map(str, written), *usual, *_caches(os.environ), "/dev", "/proc"]
    real = {_real(Path(place)) for place in places}
    ways = {str(above) for path in shut for above in Path(path).parents}
    return Bounds(
        closed=tuple(shut),
        opened=tuple(_real(path) for path in sorted(split.iterdir()) if path.name != TARGET_FILES["test"]),
        written=tuple(sorted(real - ways)),
    )


def closed_for(dataset: str, root: Root) -> tuple[Path, ...]:
    """Where targets of a dataset can be read beside its splits: raw files, results of runs, boards."""
    found = card.find(dataset, root.path)
    raw = [
        part
        for source in found.sources
        for folder in folders(source, root.data_dir, root.cache)
        for part in _raw(folder, [folder / file.name for file in source.files.values()], root)
    ]
    store = root.mlflow_uri or ""
    stores = [Path(store.removeprefix("sqlite:///"))] if store.startswith("sqlite:///") else []
    results = (root.runs, root.artifacts, root.path / "leaderboards", root.path / "jobs")
    return (*raw, *results, *stores)


def _raw(folder: Path, files: Sequence[Path], root: Root) -> Sequence[Path]:
    """The folder of raw files; the files alone where it holds what a worker needs."""
    needed = (sys.prefix, sys.base_prefix, _home("recbench"), _real(root.cache))
    return files if any(_longest(path, [_real(folder)]) for path in needed) else [folder]


def _real(path: Path) -> str:
    return os.path.realpath(path)


def _caches(environ: Mapping[str, str]) -> list[str]:
    """The folders of CACHES, made where they are not there yet, because only what exists can be allowed."""
    found = []
    for name, usual in CACHES.items():
        folder = os.path.expanduser(environ.get(name) or usual or "")
        if not os.path.isabs(folder):
            continue
        if name == "XDG_CACHE_HOME":
            with suppress(OSError):
                os.makedirs(folder, exist_ok=True)
        found.append(folder)
    return found


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
    sys.addaudithook(hook(limits, kinds(method), tell))
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


# ---- whose code


def packages(point: EntryPoint | None) -> list[str]:
    """The top-level packages of a method's distribution, as far as it names them."""
    if point is None:
        return []
    named = (point.dist.read_text("top_level.txt") or "").split() if point.dist is not None else []
    return sorted({*named, point.module.partition(".")[0]})


def kinds(method: Collection[str]) -> Callable[[str], str]:
    """Tells from a code's file whose it is: `import`, `recbench`, `library`, `method`, or `` (Python's own).

    `method` are packages of the method's distribution. What is neither installed nor Python's is the
    method's too.
    """
    own = [home for name in OWN if (home := _home(name))]
    theirs = [home for name in method if name not in OWN and (home := _home(name))]
    paths = sysconfig.get_paths()
    installed = [_real(Path(paths[name])) for name in ("purelib", "platlib")]
    installed += [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    python = [_real(Path(paths[name])) for name in ("stdlib", "platstdlib")]

    @cache
    def kind(file: str) -> str:
        if file.startswith("<"):
            return "import" if file.startswith("<frozen importlib") else ""
        path = _real(Path(file))
        for name, tops in (("method", theirs), ("recbench", own), ("library", installed), ("", python)):
            if _longest(path, tops):
                return name
        return "method"

    return kind


def _home(package: str) -> str:
    """The folder of a package, or the file of a module; empty where it is not found."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return ""
    if spec is None:
        return ""
    places = list(spec.submodule_search_locations or [])
    return _real(Path(places[0] if places else spec.origin or ""))


def origin(frame: FrameType | None, kind: Callable[[str], str]) -> Origin:
    """Who does what the innermost `frame` does: the nearest code that is recbench's or the method's.

    Code of libraries acts for its caller, but not while it is imported. A thread that runs nothing but
    Python's own code acts for the method.
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
    return "library" if library else "method"


# ---- the hook


def hook(limits: Bounds, kind: Callable[[str], str], tell: Tell) -> Callable[[str, tuple[Any, ...]], None]:
    """An audit hook: PermissionError for what is out of bounds, and `tell` for that and for starts.

    Each thing is told once. A refused access to something closed is a mark; a change elsewhere, a start and
    a connection are one if the method's own code does it.
    """
    told: set[str] = set()

    def record(what: str, frame: FrameType, *, mark: bool = False) -> None:
        whose = origin(frame, kind)
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
            for verb, path in _opened(*details):
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


def _opened(path: Any, mode: str | None, flags: int) -> Iterator[tuple[Literal["read", "change"], str]]:
    """What opening a file does, in the terms of an audit event."""
    if path is None or isinstance(path, int):
        return
    name = os.fsdecode(path)
    real = os.path.realpath(name)
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
    return (
        os.path.basename(os.fsdecode(named)) if isinstance(named, str | bytes | os.PathLike) else "a process"
    )


def _address(event: str, details: tuple[Any, ...]) -> str:
    address = details[0] if event == "socket.getaddrinfo" else details[-1]
    return str(address[0] if isinstance(address, tuple) and address else address)


# ---- a guarded child


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
    return (sys.executable, "-m", "recbench.running.guard", str(file))


def main(arguments: list[str]) -> None:
    file, module, *rest = arguments
    record = json.loads(Path(file).read_text())
    limits = Bounds(**{name: tuple(paths) for name, paths in record["bounds"].items()})
    tell = teller(os.open(record["tell"], os.O_WRONLY | os.O_APPEND))
    sys.addaudithook(hook(limits, kinds(record["method"]), tell))
    sys.argv = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
