"""`recbench method new` and `recbench method check`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from recbench.conformance.checks import CHECKS
from recbench.conformance.skeleton import KINDS, write
from recbench.errors import UsageError
from tests.plugin_examples import install

if TYPE_CHECKING:
    from tests.conftest import World


def slow(*kinds: str) -> list[object]:
    return [pytest.param(kind, marks=pytest.mark.slow) for kind in kinds]


@pytest.mark.parametrize("kind", ["scorer", *slow("preference", "token-loss", "on-policy", "llm")])
def test_a_new_method_passes_all_checks_as_it_is_written(
    world: World, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = world.recbench("method", "new", f"my-{kind}", "--kind", kind, "--to", str(tmp_path))
    assert done.returncode == 0
    folder = tmp_path / f"my-{kind}"
    module = f"my_{kind.replace('-', '_')}"
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        f"{module}.py",
        "pyproject.toml",
        f"test_{module}.py",
    ]
    install(monkeypatch, folder, tmp_path / "site-packages")
    checked = world.recbench("method", "check", f"my-{kind}", "--json")
    assert checked.returncode == 0, checked.stderr
    findings = json.loads(checked.stdout)
    assert [finding["check"] for finding in findings] == list(CHECKS)
    skipped = {finding["check"] for finding in findings if finding["status"] == "skipped"}
    of_language_models = {"examples", "semantic-id", "title", "hybrid"}
    no_pairs = {"examples"} if kind != "preference" else set()
    assert skipped == (of_language_models if kind == "scorer" else {"numbers", *no_pairs})
    assert {finding["status"] for finding in findings if finding["check"] not in skipped} == {"passed"}


@pytest.mark.parametrize(
    ("name", "kind", "what"),
    [
        ("Mine", "scorer", "'Mine' is no name of a method"),
        ("9lives", "scorer", "'9lives' is no name of a method"),
        ("class", "scorer", "'class' is no name of a method"),
        ("my method", "scorer", "'my method' is no name of a method"),
        ("sdpo", "scorer", "there is a method 'sdpo' already"),
        ("json", "scorer", "there is a Python module 'json' already"),
        ("mine", "scorrer", "no kind of method 'scorrer'; did you mean 'scorer'"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused_and_nothing_is_written(
    name: str, kind: str, what: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=what) as caught:
        write(name, kind, tmp_path)
    assert caught.value.fix
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over_a_folder_that_exists(world: World, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("years of work")
    refused = world.recbench("method", "new", "mine", "--to", str(tmp_path))
    assert refused.returncode == 2
    assert f"{tmp_path / 'mine'} exists already" in refused.stderr
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_small_and_is_python(kind: str, tmp_path: Path) -> None:
    for path in write("mine", kind, tmp_path).glob("*.py"):
        text = path.read_text()
        compile(text, str(path), "exec")
        assert "$" not in text
        assert len(text.splitlines()) <= 70
        assert max(map(len, text.splitlines())) <= 110


def test_a_failed_check_says_what_and_how_to_mend_it(world: World) -> None:
    done = world.recbench("method", "check", "broken", "--only", "loads", "--only", "fits")
    assert done.returncode == 5
    assert "passed    loads         its class is imported" in done.stdout
    assert "fit or load failed: RuntimeError: this method does not work: raised at" in done.stdout
    assert re.search(r"failures\.py:[0-9]+", done.stdout)
    assert "'broken' fails 1 of 2 checks: fits" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nosie",), "no method 'nosie'; did you mean 'noise'"),
        (("noise", "--only", "replay"), "no check 'replay'; did you mean 'replays'"),
        (("noise:beat=3", "--only", "fits"), "no parameter of noise 'beat'; did you mean 'beta'"),
    ],
)
def test_a_wrong_word_is_refused_by_name(world: World, words: tuple[str, ...], said: str) -> None:
    done = world.recbench("method", "check", *words)
    assert done.returncode in (2, 5)
    assert said in done.stderr + done.stdout


def test_a_declined_check_is_on_the_methods_card(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, Path(__file__).parents[2] / "broken_methods", tmp_path / "site-packages")
    card = json.loads(world.recbench("show", "declining", "--json").stdout)
    assert card["facts"]["declines"] == {"replays": "its vectors come from a source of true randomness"}
    assert "declines\n  replays: its vectors" in world.recbench("show", "declining").stdout


def test_a_method_for_a_newer_recbench_is_refused_by_name(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write("my-later", "scorer", tmp_path)
    install(monkeypatch, folder, tmp_path / "site-packages")
    (metadata,) = (tmp_path / "site-packages").glob("*/METADATA")
    with metadata.open("a") as stream:
        stream.write("Requires-Dist: numpy>=2\nRequires-Dist: recbench-llm[train]>=99.0\n")
    for words in (("method", "check", "my-later"), ("run", "-m", "my-later", "-d", "toy")):
        refused = world.recbench(*words)
        assert refused.returncode in (3, 5)
        assert (
            "method 'my-later' of my-later is made for recbench-llm>=99.0" in refused.stdout + refused.stderr
        )
    assert world.recbench("show", "noise").returncode == 0
