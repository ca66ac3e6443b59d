"""The checks of `recbench method check` as a test class of the author's own suite."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar
from unittest import SkipTest

from recbench.conformance.checks import check
from recbench.conformance.toy_set import toy_place
from recbench.conformance.trials import SECONDS, Trials


class MethodContract:
    """Derive a class from this one and name the method; pytest makes each check a test.

    class TestMine(MethodContract):
        method = "mine"

    The method has to be installed (`pip install -e .`), as processes of their own load it by its name. The
    trials are made once for the class, in a temporary folder.
    """

    method: ClassVar[str]
    """`NAME` or `NAME:key=value,...`, as after `-m`."""
    settings: ClassVar[Mapping[str, str]] = {}
    """Settings of the trials, as after `--set`; one epoch of training where they do not say more."""
    seconds: ClassVar[float] = SECONDS
    """How long a trial may take."""

    _trials: ClassVar[Trials | None] = None
    _folder: ClassVar[tempfile.TemporaryDirectory[str] | None] = None

    @classmethod
    def setup_class(cls) -> None:
        cls._folder = tempfile.TemporaryDirectory()
        place = toy_place(Path(cls._folder.name))
        cls._trials = Trials(cls.method, place, settings=cls.settings, seconds=cls.seconds)

    @classmethod
    def teardown_class(cls) -> None:
        if cls._folder is not None:
            cls._folder.cleanup()
        cls._trials = cls._folder = None

    def require(self, name: str) -> None:
        """AssertionError with what failed and how to fix it; a skipped test where the check is declined, or
        says nothing of the method."""
        assert self._trials is not None
        found = check(name, self._trials)
        if found.status in ("declined", "skipped"):
            raise SkipTest(found.what)
        assert found.status == "passed", f"{found.what}\ntry: {found.fix}"

    def test_loads(self) -> None:
        self.require("loads")

    def test_light(self) -> None:
        self.require("light")

    def test_documented(self) -> None:
        self.require("documented")

    def test_typed(self) -> None:
        self.require("typed")

    def test_examples(self) -> None:
        self.require("examples")

    def test_fits(self) -> None:
        self.require("fits")

    def test_ranks(self) -> None:
        self.require("ranks")

    def test_restores(self) -> None:
        self.require("restores")

    def test_replays(self) -> None:
        self.require("replays")

    def test_seeds(self) -> None:
        self.require("seeds")

    def test_order(self) -> None:
        self.require("order")

    def test_batches(self) -> None:
        self.require("batches")

    def test_candidates(self) -> None:
        self.require("candidates")

    def test_numbers(self) -> None:
        self.require("numbers")

    def test_writes(self) -> None:
        self.require("writes")

    def test_reads(self) -> None:
        self.require("reads")

    def test_alone(self) -> None:
        self.require("alone")

    def test_global_state(self) -> None:
        self.require("global-state")

    def test_resumes(self) -> None:
        self.require("resumes")

    def test_canary(self) -> None:
        self.require("canary")

    def test_measure(self) -> None:
        self.require("measure")

    def test_semantic_id(self) -> None:
        self.require("semantic-id")

    def test_title(self) -> None:
        self.require("title")

    def test_hybrid(self) -> None:
        self.require("hybrid")

    def test_cost(self) -> None:
        self.require("cost")
