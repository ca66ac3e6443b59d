"""Start-up: what is heavy is imported when it is used, not before. Modules are asserted, not times."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "trl", "peft", "mlflow", "scipy", "pandas", "sklearn", "recbole")


def loaded_after(script: str, names: tuple[str, ...]) -> list[str]:
    """The modules of `names` that are loaded in a fresh process after `script`."""
    ending = f"\nimport sys; sys.stderr.write(' '.join(m for m in {names!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script + ending], capture_output=True, text=True, check=True)
    return done.stderr.split()


def command(*words: str) -> str:
    return f"from recbench.cli import main\ntry:\n    main({list(words)!r})\nexcept SystemExit:\n    pass"


@pytest.mark.parametrize("words", [("--help",), ("run", "--help"), ("--version",)])
def test_help_loads_nothing_heavy_not_even_numpy_or_rich(words: tuple[str, ...]) -> None:
    assert loaded_after(command(*words), (*HEAVY, "numpy", "rich")) == []


def test_the_import_time_report_of_help_names_nothing_heavy() -> None:
    words = [sys.executable, "-X", "importtime", "-c", command("--help")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "typer" in imported  # the report is there and read
    assert imported.isdisjoint(HEAVY)
    assert "--help" in done.stdout


def test_listing_methods_and_datasets_loads_nothing_heavy() -> None:
    script = command("list", "methods") + "\n" + command("list", "datasets")
    assert loaded_after(script, HEAVY) == []


def test_loading_every_installed_method_loads_nothing_heavy() -> None:
    script = (
        "from recbench.planning import registry\nfor name in registry.available():\n    registry.load(name)"
    )
    assert loaded_after(script, HEAVY) == []


def test_importing_the_packages_that_export_to_methods_loads_nothing_heavy() -> None:
    script = "from recbench.llm import LLMMethod, PairMethod\nfrom recbench.sequential import SASRecParams"
    assert loaded_after(script, (*HEAVY, "safetensors", "tokenizers")) == []
    assert loaded_after("from recbench.llm import sequence_logp", ("torch",)) == ["torch"]


def test_a_ranking_of_whole_weights_loads_neither_trainer_nor_adapters() -> None:
    script = "from recbench.llm.decoding import rank\nfrom recbench.llm.model import policy, processes"
    assert loaded_after(script, ("torch", "trl", "peft")) == ["torch"]


def test_the_driver_and_the_worker_load_nothing_heavy() -> None:
    assert (
        loaded_after(
            "import recbench.running.execute, recbench.running.worker, recbench.planning.plan", HEAVY
        )
        == []
    )
