"""Listeners of a driver that remember or interrupt."""

from __future__ import annotations

from recbench.base.progress import Silent


class Listening(Silent):
    """Keeps what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.stages: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def progress(self, stage: str, done: int, total: int) -> None:
        self.stages.append(f"{stage} {done}/{total}")


class Interrupting(Listening):
    """Ctrl-C as soon as a method trains."""

    def progress(self, stage: str, done: int, total: int) -> None:
        super().progress(stage, done, total)
        if stage == "training":
            raise KeyboardInterrupt
