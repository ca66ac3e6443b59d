"""What every call of the Python interface needs: its root folder, a listener, and frames of pandas."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbench.base.progress import Lines, Silent, Talking, run_of
from recbench.base.words import shown
from recbench.errors import MissingError

if TYPE_CHECKING:
    import pandas as pd

    from recbench.base.progress import Listener
    from recbench.base.root import Root

BAR_WIDTH = 30
KEPT_LINES = 12
"""Sentences that stay above the bars of a notebook's cell."""


def root_of(root: str | Path | None) -> Root:
    """The root folder: `root`, else as the commands find it."""
    from recbench.base.root import discover

    return discover(None if root is None else Path(root))


def texts(names: str | Sequence[str] | None) -> list[str] | None:
    """One name, or several, as a list."""
    return [names] if isinstance(names, str) else None if names is None else list(names)


def left_out(text: str) -> None:
    """Say on stderr what is not counted."""
    print(shown(f"warning: {text}"), file=sys.stderr)


def frame(columns: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A DataFrame of columns, or of rows. MissingError without pandas."""
    try:
        import pandas as pd
    except ImportError:
        raise MissingError(
            "tables need pandas",
            why="it comes with recbench's extras train and baselines, and is not installed",
            fix="pip install pandas",
        ) from None
    return pd.DataFrame(columns)


class Tabular(ABC):
    """What a notebook shows as its table."""

    @abstractmethod
    def to_frame(self) -> pd.DataFrame: ...

    def _repr_html_(self) -> str:
        html: str = self.to_frame().to_html(index=False)
        return html


def listening(progress: bool) -> Listener:
    """A listener for where the call is made: a notebook, or plain lines on stderr; silent on request."""
    if not progress:
        return Silent()
    display = _notebook_display()
    return Lines() if display is None else NotebookCell(display)


def _notebook_display() -> Any:
    """IPython's `display`, where the code runs in a notebook's kernel."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return None
    from IPython.display import display

    return display


class NotebookCell(Talking):
    """The output of a notebook's cell: the last sentences, and a bar for each run that goes on."""

    def __init__(self, display: Any) -> None:
        self._display = display
        self._handle: Any = None
        self._lines: list[str] = []
        self._bars: dict[str, str] = {}

    def say(self, text: str) -> None:
        self._bars.pop("", None)
        self._lines += shown(text).splitlines()
        self._show()

    def progress(self, stage: str, done: int, total: int) -> None:
        whose = run_of(stage)
        filled = round(BAR_WIDTH * done / total) if total else 0
        bar = f"  {shown(stage)} {'█' * filled}{'░' * (BAR_WIDTH - filled)} {done:,}/{total:,}"
        if done >= total:
            self._bars.pop(whose, None)
        elif self._bars.get(whose) != bar:
            self._bars[whose] = bar
        else:
            return
        self._show()

    def _show(self) -> None:
        text = "\n".join([*self._lines[-KEPT_LINES:], *self._bars.values()])
        content = {"text/plain": text}
        if self._handle is None:
            self._handle = self._display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)
