"""Landlock: the Linux kernel keeps a process, its threads to come and its children from files, for good.

It allows and never denies: whatever no rule names is refused. A file is kept back by rules for all that lies
beside the way to it (`around`). Listing folders, executing, and the network are left alone. Numbers of calls,
flags and structures: linux/landlock.h; see https://docs.kernel.org/userspace-api/landlock.html.
"""

from __future__ import annotations

import ctypes
import os
import stat
import sys
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
VERSION_QUERY, PATH_BENEATH, NO_NEW_PRIVILEGES = 1, 1, 38

WRITE_FILE, READ_FILE, TRUNCATE = 1 << 1, 1 << 2, 1 << 14
REMOVE_AND_MAKE = sum(1 << bit for bit in range(4, 13))
"""Remove a folder or file; make a device, folder, file, socket, pipe or symbolic link."""
REFER = 1 << 13
"""Rename or link from one folder into another."""
OF_FILES = WRITE_FILE | READ_FILE | TRUNCATE
"""The rights that a rule for a file, and not a folder, may have."""


class _Ruleset(ctypes.Structure):
    _fields_ = (("handled_access_fs", ctypes.c_uint64),)


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def abi() -> int:
    """The version of Landlock in this kernel; 0 where it has none, or has it switched off."""
    if not sys.platform.startswith("linux"):
        return 0
    return int(max(_libc().syscall(CREATE_RULESET, None, ctypes.c_size_t(0), VERSION_QUERY), 0))


def writing(abi: int) -> int:
    """All rights that change files or folders, as far as version `abi` knows them.

    Version 1 always refuses to rename from one folder into another, and never refuses to truncate.
    """
    return WRITE_FILE | REMOVE_AND_MAKE | (REFER if abi >= 2 else 0) | (TRUNCATE if abi >= 3 else 0)


def around(top: Path, closed: Collection[Path]) -> Iterator[Path]:
    """The fewest paths that together hold `top` without `closed`, as the folders are now.

    Both without symbolic links on their way. `top` itself where nothing of `closed` is in it; nothing where
    `top` is closed. Links are left out, because what they lead to has a way of its own; so is a mount that
    shows a folder on the way to `closed` a second time. What is made later in a folder on the way is in none.
    """
    if top in closed or any(above in closed for above in top.parents):
        return
    inside = [path for path in closed if top in path.parents]
    yield from _beside(top, set(inside), {way for path in inside for way in (path, *path.parents)})


def _beside(folder: Path, closed: set[Path], ways: set[Path]) -> Iterator[Path]:
    if folder not in ways:
        yield folder
        return
    same = {_identity(way) for way in ways}
    try:
        entries = [Path(entry.path) for entry in os.scandir(folder) if not entry.is_symlink()]
    except OSError:
        return
    for path in entries:
        if path in closed:
            continue
        if path in ways:
            yield from _beside(path, closed, ways)
        elif _identity(path) not in same:
            yield path


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def restrict(read: Iterable[Path], write: Iterable[Path], abi: int) -> None:
    """Let this process and its children read `read` and what is below, and read and change `write`, alone.

    Paths that do not exist or cannot be entered are passed over. OSError where the kernel refuses. Threads
    that run already are not bound.
    """
    handled = READ_FILE | writing(abi)
    libc = _libc()
    attributes = _Ruleset(handled)
    rules = libc.syscall(
        CREATE_RULESET, ctypes.byref(attributes), ctypes.c_size_t(ctypes.sizeof(attributes)), 0
    )
    if rules < 0:
        raise _failure("landlock_create_ruleset")
    try:
        for paths, rights in ((read, READ_FILE), (write, handled)):
            for path in paths:
                _allow(libc, rules, path, rights)
        # without this only a privileged process may bind itself; a program with setuid gains nothing by it
        if libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
            raise _failure("prctl")
        if libc.syscall(RESTRICT_SELF, rules, 0) != 0:
            raise _failure("landlock_restrict_self")
    finally:
        os.close(rules)


def _allow(libc: ctypes.CDLL, rules: int, path: Path, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return
    try:
        mode = os.fstat(descriptor).st_mode
        allowed = rights if stat.S_ISDIR(mode) else rights & OF_FILES
        rule = _PathBeneath(allowed, descriptor)
        if libc.syscall(ADD_RULE, rules, PATH_BENEATH, ctypes.byref(rule), 0) != 0:
            raise _failure(f"landlock_add_rule for {path}")
    finally:
        os.close(descriptor)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _failure(call: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{call}: {os.strerror(number)}")
