from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from recbench.base import environment
from recbench.errors import MissingError, UsageError


def git(folder: Path, *words: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run(["git", "-C", str(folder), *identity, *words], check=True, capture_output=True)


def test_versions_are_those_installed_and_absent_packages_are_left_out() -> None:
    installed = environment.versions("no-such-package")
    assert installed["python"] == platform.python_version()
    assert installed["numpy"] == np.__version__
    assert "no-such-package" not in installed
    assert installed["recbench"] == environment.own_version()


def test_files_without_an_installation_say_how_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "DISTRIBUTION", "no-such-package")
    monkeypatch.setattr(environment, "FORMER", "numpy")
    assert environment.own_version() == np.__version__  # installed under its former name
    monkeypatch.setattr(environment, "FORMER", "nor-such")
    with pytest.raises(MissingError) as caught:
        environment.own_version()
    assert "no package no-such-package" in caught.value.why
    assert environment.install() == "pip install no-such-package"
    assert environment.install("train") == 'pip install "no-such-package[train]"'


def test_reading_versions_imports_nothing_heavy() -> None:
    script = (
        "import sys; from recbench.base import environment as e;"
        "e.versions(); e.hardware(); e.default_device();"
        "e.peak_memory(); print([m for m in ('torch', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_code_says_commit_and_whether_tracked_files_have_changed(tmp_path: Path) -> None:
    git(tmp_path, "init")
    (tmp_path / "a.py").write_text("1\n")
    git(tmp_path, "add", "a.py")
    git(tmp_path, "commit", "-m", "first")
    clean = environment.code(tmp_path)
    assert clean["commit"] is not None
    assert len(clean["commit"]) == 40
    assert clean["dirty"] is False
    (tmp_path / "new.txt").write_text("not tracked")
    assert environment.code(tmp_path) == clean
    (tmp_path / "a.py").write_text("2\n")
    assert environment.code(tmp_path) == {**clean, "dirty": True}


def test_code_outside_a_checkout_has_no_commit(tmp_path: Path) -> None:
    assert environment.code(tmp_path) == {"commit": None, "dirty": None}


def test_an_installed_copy_inside_somebody_elses_checkout_has_no_commit(tmp_path: Path) -> None:
    git(tmp_path, "init")
    (tmp_path / "theirs.py").write_text("1\n")
    git(tmp_path, "add", "theirs.py")
    git(tmp_path, "commit", "-m", "first")
    installed = tmp_path / "venv"
    installed.mkdir()
    (installed / "recbench.py").write_text("")
    assert environment.code(installed) == {"commit": None, "dirty": None}


def test_hardware_names_the_machine() -> None:
    machine = environment.hardware()
    assert machine["cores"] == os.cpu_count()
    assert machine["memory_bytes"] > 2**28


def test_peak_memory_grows_with_what_the_process_has_used() -> None:
    before = environment.peak_memory().host_bytes
    assert before is not None
    block = np.ones(before // 4)  # 8 bytes each: twice the earlier peak
    after = environment.peak_memory().host_bytes
    assert after is not None
    assert after > before + block.nbytes // 4


def test_a_process_that_sees_no_gpu_computes_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert environment.gpus() == []
    assert environment.default_device() == "cpu"


@pytest.mark.parametrize(
    ("shown", "names"),
    [
        (None, ["NVIDIA A100", "NVIDIA H200", "NVIDIA L4"]),
        ("1", ["NVIDIA H200"]),
        ("2,0", ["NVIDIA L4", "NVIDIA A100"]),
        ("GPU-bb", ["NVIDIA H200"]),
        ("MIG-1234", ["MIG-1234"]),
        ("0,7,1", ["NVIDIA A100"]),  # CUDA sees nothing behind an entry that names nothing
        ("-1", []),
        ("", []),
    ],
)
def test_gpus_are_those_that_a_child_process_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: str | None, names: list[str]
) -> None:
    query = tmp_path / "nvidia-smi"
    rows = "GPU-aa11, NVIDIA A100\nGPU-bb22, NVIDIA H200\nGPU-cc33, NVIDIA L4"
    query.write_text(f"#!/bin/sh\ncat <<end\n{rows}\nend\n")
    query.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if shown is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    assert environment.gpus() == names


@pytest.mark.parametrize(
    ("device", "shown", "told", "alone"),
    [
        ("cpu", "0,1", "cpu", ""),
        ("cuda", None, "cuda", "0"),
        ("cuda:1", None, "cuda", "1"),
        ("cuda", "3,5", "cuda", "3"),
        ("cuda:1", "3,5", "cuda", "5"),
        ("cuda:1", "GPU-aa, MIG-bb", "cuda", "MIG-bb"),
    ],
)
def test_a_worker_is_shown_one_device(device: str, shown: str | None, told: str, alone: str) -> None:
    environ = {} if shown is None else {"CUDA_VISIBLE_DEVICES": shown}
    assert environment.only_device(device, environ) == (told, {"CUDA_VISIBLE_DEVICES": alone})


@pytest.mark.parametrize("device", ["gpu", "cuda:one", "cuda:", "cpu:0", ""])
def test_a_device_of_no_kind_is_refused(device: str) -> None:
    with pytest.raises(UsageError, match=f"no kind of device '{device}'"):
        environment.only_device(device, {})


@pytest.mark.parametrize(("device", "shown"), [("cuda:2", "0,1"), ("cuda", ""), ("cuda", "-1")])
def test_a_gpu_that_is_not_shown_is_missing(device: str, shown: str) -> None:
    with pytest.raises(MissingError, match=f"no device '{device}'"):
        environment.only_device(device, {"CUDA_VISIBLE_DEVICES": shown})
