"""The digest of a method's code: what moves it, what does not, and that nothing is run to find it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from recbench.base.environment import DISTRIBUTION
from recbench.base.extensions import code, points
from recbench.planning import source
from tests.unit.planning.test_registry import distribution

MODULE = '''"""A method."""

import json
from pinned.losses import pairwise
from . import shared


class Method:
    """Ranks."""

    beta: float = 0.1
    """The weight."""

    def loss(self, x):
        return pairwise(x) * self.beta
'''
FILES = {
    "pinned/__init__.py": "raise RuntimeError('the package was run')\n",
    "pinned/method.py": MODULE,
    "pinned/losses.py": "from pinned.deep import maths\n\n\ndef pairwise(x):\n    return maths.log(x)\n",
    "pinned/shared.py": "WIDTH = 4\n",
    "pinned/deep/__init__.py": "",
    "pinned/deep/maths.py": "def log(x):\n    pass\n    return -x\n",
    "pinned/unused.py": "A = 1\n",
    "helpers_of_pinned.py": "B = 1\n",
}
Digest = Callable[[Mapping[str, str]], str]


@pytest.fixture
def digest_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Digest:
    """The digest of the method of a fresh copy of FILES with `changes`."""
    copies = iter(range(100))

    def digest_of(changes: Mapping[str, str]) -> str:
        folder = tmp_path / str(next(copies))
        for name, text in {**FILES, **changes}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        with monkeypatch.context() as patched:
            patched.syspath_prepend(str(distribution(folder, "pinned", "pinned = pinned.method:Method")))
            return source.code_of("pinned").digest

    return digest_of


def test_comments_docstrings_layout_and_unused_modules_do_not_move_the_digest(digest_of: Digest) -> None:
    quiet = MODULE.replace('"""A method."""', "# another text").replace('    """Ranks."""\n', "")
    quiet = quiet.replace('    """The weight."""\n', "").replace("x) * self", "x)  *  self")
    changes = {
        "pinned/method.py": quiet + "\n\n# the end\n",
        "pinned/deep/maths.py": 'def log(x):\n    """Negative."""\n    return (\n        -x\n    )\n',
        "pinned/unused.py": "A = 2\n",
        "helpers_of_pinned.py": "B = 2\n",
    }
    assert digest_of(changes) == digest_of({})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pinned/method.py", MODULE.replace("0.1", "0.2")),
        ("pinned/method.py", MODULE.replace("0.1", '"0.1"')),
        ("pinned/method.py", MODULE + "\n\nimport helpers_of_pinned\n"),
        ("pinned/losses.py", FILES["pinned/losses.py"].replace("maths.log(x)", "-maths.log(x)")),
        ("pinned/deep/maths.py", "def log(x):\n    return x\n"),
        ("pinned/deep/maths.py", "def log(x):\n    return None\n"),
        ("pinned/deep/maths.py", "def log(x:\n"),
        ("pinned/shared.py", "WIDTH = True\n"),
        ("pinned/__init__.py", "raise RuntimeError('another text')\n"),
    ],
)
def test_a_change_of_what_runs_moves_it(digest_of: Digest, name: str, text: str) -> None:
    assert digest_of({name: text}) != digest_of({})


def test_true_and_one_and_none_and_nothing_are_told_apart(digest_of: Digest) -> None:
    bodies = ["1", "True", "1.0", "1j", '"1"', 'b"1"', "None", "", "(1,)", "[1]"]
    digests = {digest_of({"pinned/shared.py": f"def f():\n    return {body}\n"}) for body in bodies}
    assert len(digests) == len(bodies)


def test_modules_of_the_methods_own_distribution_count_and_nothing_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(distribution(tmp_path, "pinned", "pinned = pinned.method:Method")))
    code = source.code_of("pinned", engine=3, parent="p")
    imported = [
        "pinned",
        "pinned.deep",
        "pinned.deep.maths",
        "pinned.losses",
        "pinned.method",
        "pinned.shared",
    ]
    assert code.modules == imported
    assert (code.distribution, code.version, code.engine, code.parent) == ("pinned", "1.0", 3, "p")
    assert code.commit is None
    assert "pinned" not in sys.modules


def test_an_installed_package_owns_the_modules_that_its_files_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site-packages"
    distribution(site, "spread", "spread = spread:Method")
    for name, text in {"spread": "import own_maths, foreign\n", "own_maths": "", "foreign": ""}.items():
        (site / f"{name}.py").write_text(text)
    (site / "spread-1.0.dist-info" / "RECORD").write_text("spread.py,,\nown_maths.py,,\n")
    monkeypatch.syspath_prepend(str(site))
    assert source.code_of("spread").modules == ["own_maths", "spread"]


def test_a_first_party_method_is_its_module_alone() -> None:
    code = source.code_of("sdpo")
    assert code.modules == ["recbench_methods", "recbench_methods.sdpo"]
    assert code.distribution == DISTRIBUTION
    assert source.code_of("dpo").digest != code.digest


def test_a_method_that_inherits_from_a_first_party_one_has_its_code_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "from recbench_methods.sdpo import SDPO\n\n\nclass Mine(SDPO):\n    pass\n"
    (tmp_path / "mine.py").write_text(text)
    monkeypatch.syspath_prepend(str(distribution(tmp_path, "mine", "mine = mine:Mine")))
    assert source.code_of("mine").modules == ["mine", "recbench_methods", "recbench_methods.sdpo"]


def test_the_commit_is_that_of_the_checkout_or_of_the_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(distribution(tmp_path, "kept", "kept = kept:Method")))
    (tmp_path / "kept.py").write_text("A = 1\n")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in (["init", "-q"], ["add", "kept.py"], ["commit", "-qm", "one"]):
        subprocess.run([*git, *words], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout
    assert (source.code_of("kept").commit, source.code_of("kept").dirty) == (head.strip(), False)
    origin = {"url": "https://example.org/kept", "vcs_info": {"vcs": "git", "commit_id": "c0ffee"}}
    (tmp_path / "kept-1.0.dist-info" / "direct_url.json").write_text(json.dumps(origin))
    assert source.code_of("kept").commit == "c0ffee"


def test_a_module_that_is_not_there_has_no_files() -> None:
    point = EntryPoint(name="gone", value="no_such_module.deep:Thing", group=points.GROUPS["method"])
    assert code.modules(point) == {}
