"""What a plugin does when it is merely imported reaches no number, neither another method's nor its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from recbench.errors import MissingError
from recbench.planning import description
from recbench.planning.description import describe
from recbench.planning.plugins import host
from recbench.planning.plugins.host import Host
from recbench.results import bundle
from recbench.results.bundle import Bundle
from tests.unit.planning.test_registry import distribution

if TYPE_CHECKING:
    from tests.conftest import World

HOSTILE = """
import importlib
from dataclasses import dataclass

import numpy as np

from recbench.ranking import Ranking

WISHES = {
    "recbench.results.metrics": ("summary", "per_request", "check_identity"),
    "recbench.results.evaluate": ("target_ranks", "score"),
    "recbench.dataset.split": ("load_targets",),
}


def ones(*arguments, **more):
    return {f"{name}@{k}": 1.0 for name in ("hr", "ndcg", "mrr") for k in (1, 5, 10, 20)}


for name, verbs in WISHES.items():
    module = importlib.import_module(name)
    for verb in verbs:
        setattr(module, verb, ones)
where = np.where
np.where = lambda test, *values: np.ones(np.shape(test), dtype=int) if values else where(test)
importlib.import_module("recbench.running.one_run").Manifest = dict
print('{"answer": {"params": {}}}')
assert importlib.import_module("sys").stdin.read() == ""


@dataclass(kw_only=True)
class Hostile:
    def fit(self, data, /, *, run): ...
    def load(self, data, /, *, run): ...
    def rank(self, requests, /, *, k):
        return Ranking(items=np.tile(np.arange(k), (len(requests), 1)))


@dataclass(kw_only=True)
class Deadly(Hostile):
    grace: int = 1

    def __post_init__(self):
        if not self.grace:
            importlib.import_module("os")._exit(9)
"""


@pytest.fixture
def hostile(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del world
    points = "a-hostile = hostile:Hostile\ndeadly = hostile:Deadly\nend = ending:Method"
    place = distribution(tmp_path / "hostile", "hostile", points)
    (place / "hostile.py").write_text(HOSTILE)
    for name in [name for name in sys.modules if name.partition(".")[0] in ("hostile", "toy_methods")]:
        monkeypatch.delitem(sys.modules, name)
    (place / "ending.py").write_text("import os\nos._exit(5)\n")
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(place), os.environ["PYTHONPATH"])))


def by_method(world: World) -> dict[str, Bundle]:
    return {run.spec.fit.method: run for run in map(bundle.load, bundle.find(world.root.runs))}


@pytest.mark.usefixtures("hostile")
def test_an_evaluator_patched_on_import_changes_no_number(world: World) -> None:
    assert world.recbench("run", "-m", "popularity", "-m", "noise", "-d", "toy").returncode == 0
    alone = by_method(world)
    done = world.recbench("run", "-m", "a-hostile", "-m", "popularity", "-m", "noise", "-d", "toy", "--force")
    assert done.returncode == 0, done.stderr
    assert "hostile" not in sys.modules
    beside = by_method(world)
    for name in ("popularity", "noise"):
        assert beside[name].metrics == alone[name].metrics
        assert beside[name].ranks.tolist() == alone[name].ranks.tolist()
    # the target of user u is item (7 u + 3) mod 60, and the ranking is 0, 1, ..., 19
    targets = (7 * np.arange(120) + 3) % 60
    expected = np.where(targets < 20, targets + 1, 0)
    run = beside["a-hostile"]
    assert sorted(run.ranks.tolist()) == sorted(expected.tolist())
    gains = np.where((expected > 0) & (expected <= 10), 1 / np.log2(1.0 + np.maximum(expected, 1)), 0.0)
    assert run.metrics["ndcg@10"] == pytest.approx(gains.mean())
    assert run.metrics["hr@20"] == pytest.approx(1 / 3)


@pytest.mark.usefixtures("hostile")
def test_no_command_imports_a_third_partys_plugin_in_its_own_process(world: World) -> None:
    for words in (
        ("list", "methods"),
        ("show", "a-hostile"),
        ("plan", "-m", "a-hostile", "-d", "toy"),
        ("run", "-m", "a-hostile", "-d", "toy", "--dry-run"),
    ):
        assert world.recbench(*words).returncode == 0
    assert {"hostile", "ending", "toy_methods"}.isdisjoint(sys.modules)


@pytest.mark.usefixtures("hostile")
def test_a_plugin_that_ends_its_process_is_named_and_the_next_is_asked(world: World) -> None:
    with pytest.raises(MissingError, match="method 'end' of hostile cannot be used") as caught:
        describe("end")
    assert "ended the process that reads it (exit code 5)" in caught.value.why
    assert describe("noise").distribution == "toy-methods"
    answer = world.recbench("run", "-m", "deadly:grace=0", "-d", "toy")
    assert answer.returncode == 3
    assert "method 'deadly' of hostile cannot be used" in answer.stderr
    assert "exit code 9" in answer.stderr
    assert world.recbench("plan", "-m", "noise", "-d", "toy").returncode == 0


SLEEPER = "import time\ntime.sleep(60)\n"
LIAR = """
import os

for number in range(3, 100):
    try:
        os.write(number, b'{"answer": {"name": "liar"}, "files": {}}\\n')
    except OSError:
        pass
"""


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (SLEEPER, "its code gave no answer for 1.5 s"),
        (LIAR, "it gave no description"),
        (
            LIAR.replace('{"answer": {"name": "liar"}, "files": {}}', "true"),
            "its code wrote what is no answer",
        ),
    ],
)
def test_a_package_that_blocks_or_answers_for_the_process_that_reads_it_is_named(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, why: str
) -> None:
    place = distribution(tmp_path / "odd", "odd", "odd = odd_method:Odd")
    (place / "odd_method.py").write_text(source)
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(place), os.environ["PYTHONPATH"])))
    if source == SLEEPER:
        monkeypatch.setattr(host, "ANSWER_SECONDS", 1.5)
    answer = world.recbench("run", "-m", "odd", "-d", "toy")
    assert answer.returncode == 3, answer.stderr
    assert "method 'odd' of odd cannot be used" in answer.stderr
    assert why in answer.stderr
    assert "itself failed" not in answer.stderr


READER = """
import os
from dataclasses import dataclass
from pathlib import Path

try:
    FOUND = Path(os.environ["TARGETS"]).read_bytes()
except OSError as error:
    FOUND = type(error).__name__.encode()
try:
    Path(os.environ["HIDDEN"]).write_bytes(FOUND)
except OSError:
    pass


@dataclass(kw_only=True)
class Reader:
    seen: str = FOUND.hex()

    def fit(self, data, /, *, run): ...
    def load(self, data, /, *, run): ...
    def rank(self, requests, /, *, k): ...
"""


def test_a_class_that_is_asked_reads_no_targets_and_hands_nothing_on(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = distribution(tmp_path / "reader", "reader", "reader = reader:Reader")
    (place / "reader.py").write_text(READER)
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(place), os.environ["PYTHONPATH"])))
    hidden = tmp_path / "hidden"
    monkeypatch.setenv("HIDDEN", str(hidden))
    monkeypatch.setenv("TARGETS", str(world.plan("counts")[0].split.folder / "targets_test.npz"))
    seen = describe("reader", world.root.path).parameters["seen"]
    assert bytes.fromhex(seen) == b"PermissionError"
    assert not hidden.exists()


def test_a_class_is_asked_once_as_long_as_no_file_of_it_changes(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = distribution(tmp_path / "kept", "kept", "kept = kept_method:Kept")
    source = place / "kept_method.py"
    source.write_text(READER.replace("Reader", "Kept").replace('"TARGETS"', '"HOME"'))
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.setenv("HIDDEN", str(tmp_path / "hidden"))
    asked = []
    start = Host.ask

    def ask(self: Host, question: Mapping[str, Any], who: str) -> Any:
        asked.append((question["ask"], question["name"]))
        return start(self, question, who)

    monkeypatch.setattr(Host, "ask", ask)
    plan = ("plan", "-m", "kept", "-m", "kept:seen=x", "-d", "toy", "--json")
    first = world.recbench(*plan)
    assert (first.returncode, asked.count(("describe", "kept"))) == (0, 1), first.stderr
    assert {name for name, _ in asked} == {"describe", "build"}
    number = len(asked)
    description._describe.cache_clear()
    assert world.recbench(*plan).stdout == first.stdout
    assert len(asked) == number
    before = source.stat()
    other = source.read_text().replace('"HIDDEN"', '"BIDDEN"')
    source.with_suffix(".new").write_text(other)
    os.utime(source.with_suffix(".new"), ns=(before.st_atime_ns, before.st_mtime_ns))
    source.with_suffix(".new").replace(source)  # as large and as old as before: a copy out of an archive
    assert source.stat().st_size == before.st_size
    description._describe.cache_clear()
    assert world.recbench(*plan).returncode == 0
    assert len(asked) > number
