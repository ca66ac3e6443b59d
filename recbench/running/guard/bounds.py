"""What a worker may read and change: everything from which the test targets could be learned is closed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from recbench.dataset.split import TARGET_FILES

CACHES = {
    "HF_HOME": None,
    "HF_HUB_CACHE": None,
    "TORCH_HOME": None,
    "TORCHINDUCTOR_CACHE_DIR": None,
    "TORCH_EXTENSIONS_DIR": None,
    "NUMBA_CACHE_DIR": None,
    "TRITON_CACHE_DIR": "~/.triton",
    "CUDA_CACHE_PATH": "~/.nv",
    "MPLCONFIGDIR": "~/.config/matplotlib",
}
"""Where libraries keep what they compile and fetch: the variable that moves it, and where it is without, if
that is not below the user's cache, `~/.cache`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Paths without symbolic links on their way, which end in `/`; of several that hold a file, the longest
    counts."""

    closed: tuple[str, ...]
    """Neither read nor changed."""
    opened: tuple[str, ...]
    """Read, although it lies in something closed."""
    written: tuple[str, ...]
    """Changed; nothing else is."""

    def may_read(self, path: str) -> bool:
        if not f"{path}/".startswith(self.closed):
            return True
        return longest(path, self.closed) <= longest(path, (*self.opened, *self.written))

    def may_write(self, path: str) -> bool:
        return longest(path, (*self.closed, *self.opened)) < longest(path, self.written)


def longest(path: str, tops: Iterable[str]) -> int:
    """The length of the longest of `tops` that is `path` or holds it; 0 where there is none."""
    return max((len(top) for top in tops if f"{path}/".startswith(top)), default=0)


def bounds(
    *,
    closed: Iterable[Path],
    cache: Path,
    written: Iterable[Path],
    temporary: Path,
    split: Path | None = None,
    alone: bool = False,
    opened: Iterable[Path] = (),
) -> Bounds:
    """Of a process that learns from `split`: all other splits and raw files of the cache are closed too.

    `temporary` serves as temporary folder where the usual one lies on the way to something closed: a file
    that is made there later could not be read; or where this worker is to be `alone` in it, because others
    keep their tasks in the usual one. `opened` are files that it may read wherever they lie. Variables of
    this process say where it and caches are.
    """
    shut = sorted({real_path(path) for path in (*closed, cache / "split", cache / "raw")})
    usual = [tempfile.gettempdir(), "/tmp", "/var/tmp"]
    if alone or any(path.startswith(real_path(Path(usual[0]))) for path in shut):
        temporary.mkdir(exist_ok=True)
        os.environ["TMPDIR"] = tempfile.tempdir = str(temporary)
        usual = [str(temporary)]
    places = [*map(str, written), *usual, *caches(os.environ), "/dev", "/proc"]
    real = {real_path(Path(place)) for place in places}
    ways = {_slash(above) for path in shut for above in Path(path).parents}
    parts = () if split is None else sorted(split.iterdir())
    harmless = [path for path in parts if path.name != TARGET_FILES["test"]]
    return Bounds(
        closed=tuple(shut),
        opened=tuple(map(real_path, (*harmless, *opened))),
        written=tuple(sorted(real - ways)),
    )


def real_path(path: Path) -> str:
    """Without symbolic links, and with `/` at its end."""
    return _slash(os.path.realpath(path))


def _slash(path: Path | str) -> str:
    return str(path).rstrip("/") + "/"


def caches(environ: MutableMapping[str, str]) -> list[str]:
    """The user's cache and the folders of CACHES. Only what exists can be allowed: what a variable names is
    made, and what it does not is moved below the user's cache, where it is not there yet."""
    top = environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    found = [top]
    for name, usual in CACHES.items():
        if usual and name not in environ and not os.path.isdir(os.path.expanduser(usual)):
            environ[name] = os.path.join(top, name.lower())
        folder = environ.get(name) or os.path.expanduser(usual or "")
        found += [folder] if folder else []
    for folder in found:
        with suppress(OSError):
            os.makedirs(folder, exist_ok=True)
    return found
