"""A plugin's fault names the plugin, its package and the fix, and stops no command that does not use it."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from recbench.base.progress import Silent
from recbench.running.execute import run_all
from recbench.running.local import LocalPool
from tests.unit.planning.test_registry import distribution

if TYPE_CHECKING:
    from tests.conftest import World

HEAD = """
import os
from dataclasses import InitVar, dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

from recbench.method import Stopped
from recbench.ranking import Ranking


class Verbs:
    def fit(self, data, /, *, run): ...
    def load(self, data, /, *, run): self.data = data
    def rank(self, requests, /, *, k):
        return Ranking(items=np.tile(np.arange(k), (len(requests), 1)))


"""
Write = Callable[[str], None]


@pytest.fixture
def write(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Installs the package `faulty`, whose method of the same name is the class `Faulty` with this source."""
    del world
    place = distribution(tmp_path / "faulty", "faulty", "faulty = faulty_module:Faulty")

    def write(source: str) -> None:
        (place / "faulty_module.py").write_text(HEAD + source)
        monkeypatch.syspath_prepend(str(place))
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(place), os.environ["PYTHONPATH"])))
        monkeypatch.delitem(sys.modules, "faulty_module", raising=False)

    return write


def method(body: str, above: str = "@dataclass(kw_only=True)") -> str:
    return f"{above}\nclass Faulty(Verbs):\n" + "".join(f"    {line}\n" for line in body.splitlines())


BEFORE = {
    "exits when imported": ("raise SystemExit(0)", "SystemExit: 0", "faulty_module:Faulty"),
    "asserts when imported": ("assert 1 > 2, 'no sums'", "AssertionError: no sums", "pip uninstall faulty"),
    "no such class": ("class Other(Verbs): ...", "has no attribute 'Faulty'", "faulty_module:Faulty"),
    "asserts when built": (
        method("beta: float = 0.1\ndef __post_init__(self):\n    assert self.beta > 1, 'too small'"),
        "AssertionError: too small",
        "ValueError with the reason",
    ),
    "exits when built": (
        method("def __post_init__(self):\n    raise SystemExit"),
        "SystemExit",
        "ValueError",
    ),
    "wants a value of no field": (method("width: InitVar[int]"), "Faulty.width is an InitVar", "a field"),
    "keeps what no file can hold": (
        method("beta: float = 0.1\ndef __post_init__(self):\n    self.beta = {1, 2}"),
        "not JSON serializable",
        "faulty_module:Faulty",
    ),
    "a parameter of a type that is no text": (
        method("weights: dict[str, float] = field(default_factory=dict)"),
        "Faulty.weights is a dict[str, float]",
        "bool, int, float, str",
    ),
    "a parameter without an annotation": (
        method("beta = 0.1"),
        "Faulty.beta has no type annotation",
        "beta: float = 0.1",
    ),
    "an annotation that cannot be read": (
        method("beta: 'NoSuchName' = 1"),
        "name 'NoSuchName' is not defined",
        "import the names",
    ),
    "a version that is a parameter": (
        method("version: int = 2"),
        "Faulty.version is a parameter",
        "version: ClassVar = 2",
    ),
    "a version in words": (
        method("version: ClassVar[str] = '2'"),
        "has to be a whole number",
        "change version",
    ),
    "a kind that is none": (method("kind: ClassVar[str] = 'LLM'"), "'scorer' or 'llm'", "change kind"),
    "requires of one word": (
        method("requires: ClassVar[str] = 'torch'"),
        "a tuple of names",
        "change requires",
    ),
    "a preset of no parameter": (
        method("presets: ClassVar[Any] = {'ilrec': {'betta': 1}}"),
        "presets sets betta for ilrec",
        "train.betta",
    ),
    "a trait that raises": (
        "class Meta(type):\n    @property\n    def version(cls):\n        raise KeyError('gone')\n\n\n"
        + method("pass").replace("(Verbs)", "(Verbs, metaclass=Meta)"),
        "KeyError: 'gone'",
        "fix the class",
    ),
}


@pytest.mark.parametrize("fault", BEFORE)
def test_a_fault_before_anything_runs_names_the_plugin_and_the_fix(
    fault: str, world: World, write: Write
) -> None:
    source, why, fix = BEFORE[fault]
    write(source)
    refused = world.recbench("run", "-m", "faulty", "-d", "toy")
    assert refused.returncode == 3, refused.stderr
    assert "method 'faulty' of faulty" in refused.stderr
    assert why in refused.stderr
    assert fix in refused.stderr
    assert "recbench itself failed" not in refused.stderr
    assert not world.root.runs.exists()
    (planned,) = json.loads(world.recbench("plan", "-m", "faulty", "-d", "toy", "--json").stdout)["runs"]
    assert planned["state"] == "blocked"


def test_a_broken_plugin_stops_no_command_that_does_not_use_it(world: World, write: Write) -> None:
    write("raise SystemExit(0)")
    for words in (
        ("run", "-m", "popularity", "-d", "toy"),
        ("list", "methods"),
        ("show", "popularity"),
        ("plan", "-m", "faulty", "-m", "popularity", "-d", "toy"),
    ):
        answer = world.recbench(*words)
        assert answer.returncode == 0, (words, answer.stderr)


def test_a_required_parameter_is_asked_for_and_then_taken(world: World, write: Write) -> None:
    write(method("beta: float\nwidth: int = 2"))
    refused = world.recbench("run", "-m", "faulty", "-d", "toy")
    assert refused.returncode == 2
    assert "'faulty' needs a value for beta" in refused.stderr
    assert "-m faulty:beta=VALUE" in refused.stderr
    (run,) = world.run("faulty:beta=0.5")
    assert (run.status, run.label) == ("complete", "faulty[beta=0.5]")


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999"])
def test_a_value_that_is_no_finite_number_is_the_users(value: str, world: World, write: Write) -> None:
    write(method("beta: float = 0.1\nwidth: int = 2"))
    for name in ("beta", "width"):
        answer = world.recbench("run", "-m", f"faulty:{name}={value}", "-d", "toy")
        assert answer.returncode == 2
        assert f"faulty: {name} = '{value}' is not a" in answer.stderr


WHILE = {
    "returns nothing": (
        "def rank(self, requests, /, *, k): ...",
        "rank returned a NoneType",
        "Ranking(items=items)",
    ),
    "returns a list": (
        "def rank(self, requests, /, *, k): return Ranking(items=[[0] * k] * len(requests))",
        "the items of the ranking are a list",
        "items.astype(int)",
    ),
    "ranks half items": (
        "def rank(self, requests, /, *, k):\n"
        "    return Ranking(items=np.tile(np.arange(k) + 0.5, (len(requests), 1)))",
        "the items of the ranking are float64",
        "items.astype(int)",
    ),
    "scores of another shape": (
        "def rank(self, requests, /, *, k):\n"
        "    return Ranking(items=super().rank(requests, k=k).items, scores=np.zeros(3))",
        "the scores of the ranking have shape (3,)",
        "fix faulty_module:Faulty",
    ),
    "certifies in words": (
        "def rank(self, requests, /, *, k):\n"
        "    return Ranking(items=super().rank(requests, k=k).items, certified='yes')",
        "the certified of the ranking are a str",
        "astype(bool)",
    ),
    "statistics of words": (
        "def rank(self, requests, /, *, k):\n"
        "    return Ranking(items=super().rank(requests, k=k).items, stats={'speed': 'high'})",
        "TypeError",
        "fix faulty_module:Faulty",
    ),
    "ends its process": (
        "def fit(self, data, /, *, run): os._exit(7)",
        "the fit process ended with exit code 7",
        "fix faulty_module:Faulty",
    ),
    "ends its process as if all were well": (
        "def fit(self, data, /, *, run): os._exit(0)",
        "the fit process ended with exit code 0 before it was done",
        "fix faulty_module:Faulty",
    ),
    "ends its process while it ranks": (
        "def rank(self, requests, /, *, k): os._exit(0)",
        "the rank process ended with exit code 0",
        "fix faulty_module:Faulty",
    ),
    "exits": ("def fit(self, data, /, *, run): raise SystemExit(0)", "SystemExit: 0", "faulty_module:Faulty"),
    "stops unasked": (
        "def fit(self, data, /, *, run): raise Stopped",
        "the fit process ended with exit code 0 before it was done",
        "fix faulty_module:Faulty",
    ),
    "raises what is no exception": (
        "def fit(self, data, /, *, run): raise BaseException('ha')",
        "the fit process ended with exit code 1",
        "fix faulty_module:Faulty",
    ),
}


@pytest.mark.parametrize("fault", WHILE)
def test_a_fault_at_work_fails_its_run_alone_and_names_the_plugin(
    fault: str, world: World, write: Write
) -> None:
    body, what, fix = WHILE[fault]
    write(method(body))
    answer = world.recbench("run", "-m", "faulty", "-d", "toy")
    assert answer.returncode == 1, answer.stderr
    assert "failed: faulty on toy (method)" in answer.stdout
    assert "what: method 'faulty' of faulty 1.0: " in answer.stdout
    assert what in answer.stdout
    assert fix in answer.stdout
    assert "itself failed" not in answer.stdout + answer.stderr


def test_a_package_whose_entry_points_cannot_be_read_harms_no_other(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in {"torn": b"[recbench.methods]\nno equals sign\n", "bytes": b"\xff\xfe\x00"}.items():
        place = distribution(tmp_path / name, name, "x = y:Z")
        (place / f"{name}-1.0.dist-info" / "entry_points.txt").write_bytes(text)
        monkeypatch.syspath_prepend(str(place))
    assert world.recbench("run", "-m", "counts", "-d", "toy").returncode == 0
    assert world.recbench("list", "methods").returncode == 0


@pytest.mark.slow
def test_a_run_ends_at_its_limit_with_what_it_started(world: World, write: Write) -> None:
    write(
        method(
            "def fit(self, data, /, *, run):\n"
            "    import signal, subprocess, time\n"
            "    signal.signal(signal.SIGTERM, signal.SIG_DFL)\n"
            "    child = subprocess.Popen(['sleep', '600'])\n"
            "    (run.workdir / 'child').write_text(str(child.pid))\n"
            "    time.sleep(600)"
        )
    )
    begun = time.monotonic()
    (late,) = run_all(world.plan("faulty"), world.root, executor=LocalPool(seconds=10.0), listener=Silent())
    assert time.monotonic() - begun < 60
    assert late.reason is not None
    assert late.reason["class"] == "timeout"
    assert "it may take 10 seconds" in late.reason["message"]
    assert "--time" in late.reason["fix"]
    child = int((world.root.cache / "fits" / late.spec.fit.id / "child").read_text())
    status = Path(f"/proc/{child}/stat")
    assert not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z"


def test_the_limit_of_the_command_line_reaches_runs_of_this_machine(world: World, write: Write) -> None:
    write(method("def fit(self, data, /, *, run):\n    import time\n    time.sleep(600)"))
    answer = world.recbench("run", "-m", "faulty", "-d", "toy", "--time", "2s")
    assert answer.returncode == 1
    assert "failed: faulty on toy (timeout)" in answer.stdout
    assert "it may take 2 seconds" in answer.stdout
    assert world.recbench("run", "-m", "counts", "-d", "toy", "--time", "5m").returncode == 0
    assert world.recbench("run", "-m", "counts", "-d", "toy", "--time", "soon").returncode == 2
