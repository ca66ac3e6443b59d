"""A bounded wait for something that may never answer."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Generic, TypeVar

from recbench.errors import MissingError

T = TypeVar("T")
QUIET_SECONDS = 10.0
"""A store that has finished no call for this long is taken for dead."""
SAID_SECONDS = 2.0
"""After this long the user is told what the command waits for."""


class Watched(Generic[T]):
    """`work` in a thread of its own, which is left behind when it stays quiet and keeps no command alive.

    `work` is given a function that it calls whenever it has got an answer.
    """

    def __init__(self, work: Callable[[Callable[[], None]], T]) -> None:
        self._work = work
        self._last = time.monotonic()
        self._result: list[T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def result(self, *, what: str, say: Callable[[str], None], quiet_seconds: float = QUIET_SECONDS) -> T:
        """What `work` returns or raises. MissingError where it has had no answer for `quiet_seconds`."""
        self._beat()
        self._thread.start()
        told = False
        while self._thread.is_alive():
            self._thread.join(0.05)
            silence = time.monotonic() - self._last
            if self._thread.is_alive() and silence > quiet_seconds:
                raise MissingError(f"{what} does not answer", why=f"nothing came for {quiet_seconds:g} s")
            if silence > SAID_SECONDS and not told:
                say(f"waiting for {what}, {quiet_seconds:g} s at most")
                told = True
        if self._error is not None:
            raise self._error
        return self._result[0]

    def _beat(self) -> None:
        self._last = time.monotonic()

    def _run(self) -> None:
        try:
            self._result.append(self._work(self._beat))
        except BaseException as error:  # raised again where the result is asked for
            self._error = error


class Beating:
    """A client whose every finished call is an answer."""

    def __init__(self, client: Any, beat: Callable[[], None]) -> None:
        self._client, self._beat = client, beat

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._client, name)

        def answered(*args: Any, **more: Any) -> Any:
            result = call(*args, **more)
            self._beat()
            return result

        return answered


def database_closed(path: Path, *, seconds: float = QUIET_SECONDS) -> str:
    """Why the SQLite file at `path` cannot be written now; empty where it can."""
    try:
        address = f"{path.resolve().as_uri()}?mode=rw"
        with closing(sqlite3.connect(address, uri=True, timeout=seconds)) as database:
            database.execute("BEGIN IMMEDIATE")
            database.rollback()
    except sqlite3.Error as error:
        return str(error)
    return ""
