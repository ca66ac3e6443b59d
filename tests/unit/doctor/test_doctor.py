"""What each check says of what it finds, on recorded answers and on small folders."""

from __future__ import annotations

import json
import socket
import sqlite3
import time
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from packaging.requirements import Requirement

from recbench.base.root import Root
from recbench.doctor import backbone, finding, machine, node, place, slurm, software
from recbench.doctor.finding import Answer, Finding
from recbench.errors import UsageError
from recbench.running.slurm.executor import Profile
from recbench.running.slurm.queue import Partition

ABSENT = "recbench-has-no-such-package"


def judged(*wanted: str, optional: str = "") -> Finding:
    return software.judge("packages", [Requirement(one) for one in wanted], optional=optional, extra="train")


def test_packages_are_held_to_the_versions_that_are_declared() -> None:
    assert judged("numpy>=2.0", "pytest").found == "2 as declared"
    wrong = judged("numpy>=999", "pytest", ABSENT)
    assert wrong.status == "missing"
    assert wrong.found == f"numpy {version('numpy')} is not >=999; not installed: {ABSENT}"
    assert wrong.fix == 'pip install "recbench-llm[train]"'


def test_a_package_of_the_former_name_beside_recbench_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    here = {"recbench-llm": "0.2"}
    monkeypatch.setattr(software, "installed", here.get)
    assert list(software.names()) == []
    here["recbench"] = "0.0.1"
    [found] = software.names()
    assert found.status == "warning"
    assert "recbench 0.0.1 is installed beside recbench-llm" in found.found
    assert found.fix.startswith("pip uninstall recbench, then pip install recbench-llm")
    del here["recbench-llm"]
    assert list(software.names()) == []  # an editable install of before


def test_a_group_that_was_left_out_is_a_choice_and_one_with_holes_is_not() -> None:
    assert judged(ABSENT, optional="nothing learns").status == "warning"
    assert judged(ABSENT, "numpy", optional="nothing learns").status == "missing"
    assert judged(ABSENT).status == "missing"


def test_what_recbench_declares_is_here() -> None:
    findings = {one.name: one for one in software.packages()}
    assert findings["packages"].status == "ok"
    assert "packages [train]" in findings
    assert "packages [dev]" not in findings
    assert software.python().status == "ok"


def test_other_versions_than_the_tests_had_are_named(tmp_path: Path) -> None:
    file = tmp_path / "constraints.txt"
    torch = version("torch").partition("+")[0]  # the build says nothing
    file.write_text(f"# a comment\ntorch=={torch}\npytest==0.1  # old\n{ABSENT}==1\n")
    (one,) = software.constraints(file)
    assert one.status == "warning"
    assert one.found == f"pytest {version('pytest')} (tests: 0.1)"
    file.write_text(f"torch=={torch}\n")
    (one,) = software.constraints(file)
    assert one.status == "ok"
    assert list(software.constraints(tmp_path / "none.txt")) == []


SMI = "NVIDIA A100-SXM4-40GB, 40960, 550.54\nNVIDIA A100-SXM4-40GB, 40960, 550.54"


def test_gpus_are_counted_and_those_that_are_hidden_are_told() -> None:
    answer = Answer(0, SMI)
    there = machine.cards(answer)
    seen = machine.judge_gpus(there, answer, shown=["a", "b"], device=None)
    assert seen.status == "ok"
    assert seen.found == "2 x NVIDIA A100-SXM4-40GB 40.0 GiB, driver 550.54"
    assert machine.judge_gpus(there, answer, shown=[], device=None).status == "warning"


def test_no_gpu_is_fine_until_runs_are_set_to_use_one() -> None:
    absent = Answer(None, "there is no nvidia-smi")
    assert machine.judge_gpus([], absent, shown=[], device=None).status == "ok"
    assert machine.judge_gpus([], absent, shown=[], device="cuda:1").status == "missing"
    failing = Answer(18, "Failed to initialize NVML: Driver/library version mismatch")
    told = machine.judge_gpus(machine.cards(failing), failing, shown=[], device=None)
    assert told.status == "warning"
    assert "version mismatch" in told.found


@pytest.mark.parametrize(
    ("version", "shown", "said", "status", "text"),
    [
        ("2.6.0+cpu", [], None, "ok", "there is no GPU"),
        ("2.6.0+cpu", ["A100"], None, "warning", "leaves 1 GPUs idle"),
        ("2.6.0", ["A100"], ["12.4", True, True], "ok", "for CUDA 12.4 uses A100"),
        ("2.6.0", ["V100"], ["12.4", True, False], "warning", "does not compute in bf16"),
        ("2.6.0", ["A100"], ["13.0", False, False], "missing", "for CUDA 13.0 cannot use A100"),
    ],
)
def test_torch_is_judged_by_the_gpu_that_it_is_to_use(
    version: str, shown: list[str], said: list[Any] | None, status: str, text: str
) -> None:
    answer = None if said is None else Answer(0, f"a warning\n{json.dumps(said)}")
    one = machine.judge_torch(version, shown, answer)
    assert one.status == status
    assert text in one.found


def test_a_torch_that_fails_to_import_says_why() -> None:
    one = machine.judge_torch("2.6.0", ["A100"], Answer(1, "ImportError: libcudart.so.12"))
    assert one.status == "missing"
    assert "libcudart" in one.found


def test_more_threads_than_cores_are_told() -> None:
    one = machine.processor(10_000)
    assert one.status == "warning"
    assert one.fix.startswith("RECBENCH_THREADS=")


def test_a_command_that_is_absent_fails_or_hangs_is_an_answer() -> None:
    assert finding.ask(["recbench-has-no-such-command"]).code is None
    failed = finding.ask(["sh", "-c", "echo out; echo first >&2; echo last >&2; exit 3"])
    assert failed == Answer(3, "last")
    assert finding.ask(["sleep", "30"], seconds=0.1).text == "sleep did not answer within 0.1 s"


def test_a_root_is_probed_and_left_as_it_is(tmp_path: Path) -> None:
    one = place.writable(Root(path=tmp_path / "new" / "root"))
    assert one.status == "ok"
    assert list(tmp_path.iterdir()) == []
    assert place.writable(Root(path=Path("/proc/recbench"))).status == "missing"
    (tmp_path / "file").write_text("")
    assert "Not a directory" in place.writable(Root(path=tmp_path / "file" / "root")).found


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "lustre", "fuse.sshfs", "fuse.ceph", "9p"])
def test_file_systems_of_the_network_are_known(kind: str) -> None:
    assert place.NETWORK.fullmatch(kind)
    assert not place.NETWORK.fullmatch("ext4")
    assert not place.NETWORK.fullmatch("fuse.something")


def test_the_file_system_of_a_folder_is_that_of_its_mount() -> None:
    assert place.file_system_of(Path("/proc/self")) == "proc"


def test_data_sets_whose_files_are_there_are_named(tmp_path: Path) -> None:
    assert place.data(Root(path=tmp_path)).status == "ok"
    root = Root(path=tmp_path, environ={"RECBENCH_DATA": str(tmp_path / "none")})
    assert place.data(root).status == "missing"
    (tmp_path / "data").mkdir()
    assert place.data(Root(path=tmp_path)).status == "warning"
    from recbench.dataset import card

    (source, *_) = card.find("game", tmp_path).sources
    folder = tmp_path / "data" / source.folder
    for file in source.files.values():
        (folder / file.name).parent.mkdir(parents=True, exist_ok=True)
        (folder / file.name).write_bytes(b"")
    assert place.data(Root(path=tmp_path)).found == f"{tmp_path / 'data'} has game"


def stored(tmp_path: Path, uri: str | None) -> Finding:
    return place.store(Root(path=tmp_path, environ={} if uri is None else {"RECBENCH_MLFLOW": uri}))


def test_a_store_is_asked_whether_it_can_be_written(tmp_path: Path) -> None:
    assert stored(tmp_path, "off").status == "ok"
    assert stored(tmp_path, None).status == "ok"
    assert list(tmp_path.iterdir()) == []
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("CREATE TABLE t (a)")
    assert stored(tmp_path, None).status == "ok"
    (tmp_path / "other.db").write_bytes(b"no database at all, and long enough to be told from one" * 100)
    broken = stored(tmp_path, f"sqlite:///{tmp_path / 'other.db'}")
    assert broken.status == "missing"
    assert "not a database" in broken.found
    assert (
        stored(tmp_path, f"sqlite:///{tmp_path / 'none' / 'a.db'}").status == "ok"
    )  # MLflow makes the folder
    inside = stored(tmp_path, f"sqlite:///{tmp_path / 'mlflow.db' / 'a.db'}")
    assert f"cannot write to {tmp_path / 'mlflow.db'}" in inside.found


def test_a_server_that_nobody_runs_is_named_without_its_password(tmp_path: Path) -> None:
    one = stored(tmp_path, "http://me:secret@127.0.0.1:1")
    assert one.status == "missing"
    assert one.found.startswith("http://me:***@127.0.0.1:1: nobody answers at 127.0.0.1:1")
    assert "RECBENCH_MLFLOW=off" in one.fix


def test_a_server_that_sends_a_byte_now_and_then_is_named_after_a_bounded_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setattr(place, "SECONDS", 1.0)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"

    def drip(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

    def answer(connection: socket.socket) -> None:
        with suppress(OSError), connection:
            for byte in (head, *(b" ",) * 300):
                connection.sendall(byte)
                time.sleep(0.2)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        Thread(target=drip, args=(listener,), daemon=True).start()
        began = time.monotonic()
        one = stored(tmp_path, f"http://127.0.0.1:{listener.getsockname()[1]}")
        assert time.monotonic() - began < 50  # of which the import of MLflow takes most
    assert (one.status, one.found.partition(": ")[2]) == ("missing", "nothing came for 2 s")


def model(folder: Path, *files: str) -> Path:
    folder.mkdir(parents=True)
    for name in files:
        (folder / name).write_bytes(b"x" * 1500)
    return folder


def test_a_local_backbone_lacks_what_a_run_reads(tmp_path: Path) -> None:
    whole = model(tmp_path / "whole", "config.json", "model.safetensors", "tokenizer.json")
    one = backbone.backbone(str(whole), offline=True)
    assert (one.status, one.found) == ("ok", f"{whole}, 1.5 KiB of weights")
    part = model(tmp_path / "part", "config.json", "model-1-of-2.safetensors")
    shards = {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}
    (part / backbone.INDEX).write_text(json.dumps({"weight_map": shards}))
    one = backbone.backbone(str(part), offline=True)
    assert one.status == "missing"
    assert one.found == f"{part} has no model-2-of-2.safetensors and no tokenizer"


def test_tiny_needs_nothing_and_a_word_is_no_backbone() -> None:
    assert backbone.backbone("tiny", offline=False).status == "ok"
    with pytest.raises(UsageError, match=r"did you mean 'qwen2-0\.5b'"):
        backbone.backbone("qwen2-0.5", offline=True)


def test_a_gguf_file_is_judged_by_its_header(tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason="reads a GGUF file: pip install gguf")
    (tmp_path / "cut.gguf").write_bytes(b"GGUF")
    cut = backbone.backbone(str(tmp_path / "cut.gguf"), offline=True)
    assert (cut.status, cut.found) == (
        "missing",
        f"{tmp_path / 'cut.gguf'} is no GGUF file, or not a whole one",
    )
    absent = backbone.backbone("models/none.gguf", offline=True)
    assert absent.found == "there is no file models/none.gguf"  # and the Hub is not asked for models/none


def test_a_pinned_model_is_fetched_at_its_commit() -> None:
    one = backbone.backbone("smollm2-135m", offline=True)
    assert one.fix.startswith("hf download HuggingFaceTB/SmolLM2-135M-Instruct --revision 12fd25f7")


def test_a_backbone_that_is_not_here_says_what_it_needs() -> None:
    one = backbone.backbone("recbench-tests/none-7b", offline=True)
    assert one.status == "missing"
    assert "its weights need about 13.0 GiB" in one.found
    huge = backbone.backbone("recbench-tests/none-7000000b", offline=True)
    assert "are free" in huge.found
    assert huge.fix.startswith("HF_HOME=")


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("Qwen/Qwen2-0.5B", 1_000_000_000),
        ("meta-llama/Llama-3.1-8B", 16_000_000_000),
        ("org/model-3b-instruct", 6_000_000_000),
        ("org/model-4bit", None),
        ("org/model", None),
    ],
)
def test_the_size_of_weights_follows_from_the_parameters_in_a_name(name: str, size: int | None) -> None:
    assert backbone.about_bytes(name) == size


def partitions(*found: tuple[str, int, bool]) -> dict[str, Partition]:
    return {
        name: Partition(name=name, gpus=gpus, minutes=90, default=default) for name, gpus, default in found
    }


def test_partitions_are_told_with_their_gpus() -> None:
    told = slurm.judge_partitions(partitions(("gpu", 4, True), ("cpu", 0, False)))
    assert (told.status, told.found) == ("ok", "gpu: 4 GPUs a node, at most 1.5 h")
    assert slurm.judge_partitions(partitions(("cpu", 0, True))).status == "warning"
    assert slurm.judge_partitions({}).status == "missing"


def test_the_test_job_is_what_the_profile_says_and_takes_a_gpu_where_there_is_one() -> None:
    found = partitions(("cpu", 0, True), ("gpu", 4, False))
    assert slurm.options_of(Profile(), found) == ["--gpus-per-node=1", "--partition=gpu"]
    assert slurm.options_of(Profile(), partitions(("gpu", 4, True))) == ["--gpus-per-node=1"]
    assert slurm.options_of(Profile(partition="cpu"), found) == ["--partition=cpu"]
    asked = Profile(partition="gpu", account="lab", sbatch=("--exclusive",))
    said = ["--partition=gpu", "--account=lab", "--exclusive", "--gpus-per-node=1"]
    assert slurm.options_of(asked, found) == said


def test_what_a_cluster_lacks_is_said() -> None:
    assert slurm.judge_ping(Answer(0, "Slurmctld(primary) at n is UP")).status == "ok"
    assert slurm.judge_ping(Answer(0, "Slurmctld(primary) at n is DOWN")).status == "missing"
    assert slurm.judge_accounting(Answer(1, "Slurm accounting storage is disabled")).status == "missing"
    config = slurm.configuration(Answer(0, "PreemptType             = preempt/qos\nHealth = (null)"))
    assert slurm.judge_preemption(config).status == "warning"
    told = config | {"SlurmctldParameters": "idle_on_node_suspend,preempt_send_user_signal"}
    assert slurm.judge_preemption(told).status == "ok"
    assert slurm.judge_preemption({"PreemptType": "preempt/none"}).status == "ok"


def test_a_node_is_held_to_what_this_machine_has() -> None:
    here = node.identity()
    seen = {**here, "host": "n1", "word": "abc", "visible": "0", "gpus": [], "cache": ["Qwen/Qwen2-0.5B"]}

    def judged(**more: Any) -> dict[str, str]:
        found = slurm.judge_node(seen | more, here, word="abc", gpus=True, backbone="qwen2-0.5b")
        return {one.name.removeprefix("node "): one.status for one in found}

    fine = {"software": "ok", "root": "ok", "gpus": "ok", "cache": "ok"}
    assert judged() == fine
    assert judged(python="3.9.1") == fine | {"software": "missing"}
    assert judged(word="old") == fine | {"root": "missing"}
    assert judged(visible=None) == fine | {"gpus": "warning"}
    assert judged(cache=[]) == fine | {"cache": "missing"}


def test_models_in_the_offline_cache_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    (tmp_path / "hub" / "models--Qwen--Qwen2-0.5B").mkdir(parents=True)
    assert node.identity()["cache"] == ["Qwen/Qwen2-0.5B"]
