"""Errors that a user can fix: what happened, why, and the command that fixes it."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from difflib import get_close_matches


class RecbenchError(Exception):
    """A failure that is shown without a traceback; `exit_code` is what the command line returns."""

    exit_code = 1

    def __init__(self, what: str, *, why: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.fix = fix

    def __str__(self) -> str:
        return "\n".join(part for part in (self.what, self.why, self.fix and f"try: {self.fix}") if part)


class UsageError(RecbenchError):
    """The request itself is wrong: an unknown name, a parameter that does not exist, a bad value."""

    exit_code = 2


class MissingError(RecbenchError):
    """Something that the request needs is not here: a dataset, a backbone, a library, disk space."""

    exit_code = 3


class DigestError(RecbenchError):
    """Two things that must be the same are not: compared runs, a file and its recorded checksum."""

    exit_code = 4


class CheckError(RecbenchError):
    """A check that was asked for, or that guards a result, failed."""

    exit_code = 5


class DataError(RecbenchError):
    """An input file is malformed; the message names file and line."""

    exit_code = 3


def of_file(error: OSError) -> MissingError:
    """A file that cannot be read or written is the user's to repair, whatever met it."""
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return MissingError(
        f"{' and '.join(names) or 'a file'} cannot be used",
        why=error.strerror or str(error),
        fix="free some space; the same command continues"
        if full
        else "make it readable and writable; the same command with -v says where",
    )


def unknown_name(kind: str, name: str, known: Iterable[str], *, fix: str = "") -> UsageError:
    """The error for a name that does not exist, with the nearest one that does."""
    names = sorted(known)
    near = get_close_matches(name, names, n=1, cutoff=0.5)
    near = near or [one for one in names if name and one.startswith(name)][:1]
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return UsageError(f"no {kind} '{name}'{hint}", why=f"known: {', '.join(names) or 'none'}", fix=fix)
