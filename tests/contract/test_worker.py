"""The worker process: what it may open, what it says, and what it leaves when it does not finish."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from recbench.base.environment import PeakMemory
from recbench.base.files import read_plain
from recbench.base.layout import COMPLETE, fit_folder
from recbench.data import Ragged, Requests
from recbench.errors import CheckError, DataError, UsageError
from recbench.ranking import Ranking
from recbench.results.bundle import read_arrays
from recbench.results.fit_record import FitRecord, RankRecord
from recbench.running import handover
from recbench.running.attempts import last_of_each_step
from recbench.running.costs.standalone import efficiency
from recbench.running.failures import failure_of
from recbench.running.task import Task

if TYPE_CHECKING:
    from tests.conftest import World

AUDITED = """
import sys
opened = []
sys.addaudithook(lambda event, details: event == "open" and opened.append(str(details[0])))
from recbench.running import worker
from recbench.running.attempts import last_of_each_step
code = worker.main(sys.argv[1:])
print("\\n".join(opened), file=sys.stderr)  # no file beside the fit may be written
sys.exit(code)
"""


def work(
    world: World, verb: str, method: str, out: Path, **more: Any
) -> tuple[int, list[dict[str, Any]], str]:
    """Exit code, events and stderr of one worker process."""
    task = world.task(world.plan(method, **more)[0], out)
    task.write(out / "task.json")
    command = [sys.executable, "-P", "-m", "recbench.running.worker", verb, str(out / "task.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def workdir(world: World, method: str) -> Path:
    return fit_folder(world.root.cache, world.plan(method)[0].spec.fit.id)


def test_fit_says_progress_in_json_and_sends_what_libraries_print_to_stderr(
    world: World, tmp_path: Path
) -> None:
    code, events, errors = work(world, "fit", "noise", tmp_path / "out")
    assert code == 0
    assert events[-2] == {"event": "progress", "stage": "training", "done": 3, "total": 3}
    assert events[-1] == {"event": "done"}
    assert "a library talks on stdout" in errors


def test_fit_leaves_its_cost_its_curve_and_its_marker(world: World, tmp_path: Path) -> None:
    work(world, "fit", "noise", tmp_path / "out")
    folder = workdir(world, "noise")
    record = FitRecord.read(folder)
    curve = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    assert (folder / COMPLETE).exists()
    assert record.counts["steps"] == 3
    assert record.spent.seconds > 0
    assert record.spent.attempts == 1
    assert record.peak.host_bytes > 1e6
    assert record.peak.gpu_bytes is None
    assert [(point["step"], point["loss"]) for point in curve] == [(1, 1.0), (2, 0.5), (3, 1 / 3)]


def test_neither_verb_opens_the_file_of_the_test_targets(world: World, tmp_path: Path) -> None:
    task = world.task(world.plan("noise")[0], tmp_path / "out")
    task.write(tmp_path / "task.json")
    opened = ""
    for verb in ("fit", "rank"):
        command = [sys.executable, "-c", AUDITED, verb, str(tmp_path / "task.json")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        opened += done.stderr
    assert (task.split / "targets_test.npz").exists()
    assert "training.npz" in opened
    assert "requests_test.npz" in opened
    assert "targets_test" not in opened


def test_a_ranking_is_the_same_when_the_fit_is_ranked_again(world: World, tmp_path: Path) -> None:
    work(world, "fit", "noise", tmp_path / "one")
    for out in ("one", "two"):
        assert work(world, "rank", "noise", tmp_path / out)[0] == 0
    assert (tmp_path / "one" / "topk.npz").read_bytes() == (tmp_path / "two" / "topk.npz").read_bytes()
    assert read_arrays(tmp_path / "one" / "topk.npz")["items"].shape == (120, 20)


@pytest.mark.parametrize(
    ("how", "failure", "message"),
    [
        ("error", "method", "this method does not work"),
        ("memory", "oom", "no room"),
        ("exit", "method", "3"),
    ],
)
def test_a_failing_fit_ends_in_a_record_with_its_class(
    world: World, tmp_path: Path, how: str, failure: str, message: str
) -> None:
    code, events, errors = work(world, "fit", f"broken:how={how}", tmp_path / "out")
    assert code == 1
    assert (events[-1]["event"], events[-1]["class"], events[-1]["message"]) == ("failed", failure, message)
    assert any("toy_methods/failures.py" in line for line in events[-1]["traceback"])
    assert "Traceback" in errors
    assert not (workdir(world, f"broken:how={how}") / COMPLETE).exists()


def test_an_invalid_ranking_is_the_methods_failure_and_is_not_written(world: World, tmp_path: Path) -> None:
    assert work(world, "fit", "broken:how=late", tmp_path / "out")[0] == 0
    code, events, _ = work(world, "rank", "broken:how=late", tmp_path / "out")
    assert code == 1
    assert events[-1]["class"] == "method"
    assert events[-1]["what"] == "row 0 of the ranking ranks an item twice"
    assert not (tmp_path / "out" / "topk.npz").exists()


def test_changed_data_are_a_failure_of_the_data(world: World, tmp_path: Path) -> None:
    folder = world.plan("noise")[0].split.folder
    (folder / "training.npz").write_bytes(b"something else")
    code, events, _ = work(world, "fit", "noise", tmp_path / "out")
    assert code == 1
    assert events[-1]["class"] == "data"
    assert "training.npz" in events[-1]["what"]
    assert events[-1]["fix"].startswith("rm -r")


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_fit_ends_quietly_and_continues_in_its_folder(
    world: World, tmp_path: Path, sent: signal.Signals
) -> None:
    out = tmp_path / "out"
    task = world.task(world.plan("slow")[0], out)
    task.write(out / "task.json")
    command = [sys.executable, "-m", "recbench.running.worker", "fit", str(out / "task.json")]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert [json.loads(child.stdout.readline())["event"] for _ in range(2)] == ["guard", "progress"]
    child.send_signal(sent)
    _, errors = child.communicate(timeout=30)
    assert child.returncode == 130
    assert errors == ""
    assert not (task.workdir / COMPLETE).exists()
    code, _, _ = work(world, "fit", "slow", out)
    assert code == 0
    assert FitRecord.read(task.workdir).spent.attempts == 2
    steps = [json.loads(line)["step"] for line in (task.workdir / "train.jsonl").read_text().splitlines()]
    assert steps == [1, 2]


def test_a_worker_whose_driver_is_gone_ends(world: World, tmp_path: Path) -> None:
    task = world.task(world.plan("noise")[0], tmp_path / "out")
    task.write(tmp_path / "task.json")
    command = [sys.executable, "-m", "recbench.running.worker", "fit", str(tmp_path / "task.json")]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert child.stdout is not None
    child.stdout.close()
    assert child.wait(timeout=30) != 0
    assert not (task.workdir / COMPLETE).exists()


def test_a_stage_counts_with_what_it_cost_and_says_who_built_it(world: World, tmp_path: Path) -> None:
    work(world, "fit", "staged", tmp_path / "out")
    work(world, "fit", "staged:width=5", tmp_path / "out")
    first, second = (FitRecord.read(workdir(world, method)).spent for method in ("staged", "staged:width=5"))
    (name,) = first.stages
    assert first.stages_built == [name]
    assert second.stages_built == []
    assert second.stages == first.stages
    assert first.stages[name] >= 0.02


def test_a_stage_of_an_interrupted_attempt_counts_once(world: World, tmp_path: Path) -> None:
    assert work(world, "fit", "resumed", tmp_path / "out")[0] == 1
    assert work(world, "fit", "resumed", tmp_path / "out")[0] == 0
    record = FitRecord.read(workdir(world, "resumed"))
    ((name, cost),) = record.spent.stages.items()
    assert record.spent.attempts == 2
    assert record.spent.stages_built == [name]
    ranked = RankRecord(seconds=0.0, stats={}, peak=record.peak)
    seconds = efficiency(record, ranked)["seconds"]
    # the second attempt did not even ask for the stage, and both attempts' seconds contain it once
    assert seconds["stages"] == cost >= 0.02
    assert seconds["total"] == pytest.approx(record.spent.seconds)


def test_a_task_survives_its_file(world: World, tmp_path: Path) -> None:
    task = world.task(world.plan("speaker:temperature=0.5")[0], tmp_path)
    task.write(tmp_path / "task.json")
    again = Task.read(tmp_path / "task.json")
    assert again == task
    assert again.spec.id == task.spec.id


def test_a_curve_keeps_the_last_record_of_each_step() -> None:
    lines = [
        '{"step": 1, "loss": 3.0}',
        '{"step": 1, "valid": 0.1}',
        '{"step": 2, "lo',
        '{"step": 1, "loss": 2.5}',
        '{"note": "resumed"}',
        '{"step": 2, "loss": 2.0}',
    ]
    assert [json.loads(line) for line in last_of_each_step(lines)] == [
        {"step": 1, "loss": 2.5},
        {"step": 1, "valid": 0.1},
        {"note": "resumed"},
        {"step": 2, "loss": 2.0},
    ]


def test_a_failure_record_keeps_what_why_and_mend() -> None:
    record = failure_of(UsageError("no such thing", why="it never was", fix="another"))
    assert record["class"] == "harness"
    assert (record["what"], record["why"], record["fix"]) == ("no such thing", "it never was", "another")


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (DataError("bad row"), "data"),
        (MemoryError(), "oom"),
        (RuntimeError("CUDA error: out of memory"), "oom"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] can't allocate memory"), "oom"),
        (RuntimeError("shapes differ"), "harness"),
        (CheckError("row 0"), "harness"),
    ],
)
def test_failures_are_told_apart(error: Exception, failure: str) -> None:
    assert failure_of(error)["class"] == failure


def test_topk_holds_only_what_the_method_reports() -> None:
    items = np.array([[2, 0]])
    assert set(handover.arrays(Ranking(items=items))) == {"items"}
    whole = Ranking(items=items, scores=np.array([[1.0, 0.5]]), certified=np.array([True]))
    whole.check(Requests(user=np.array([0]), history=Ragged.of([[1]])), num_items=3, depth=2)
    assert set(handover.arrays(whole)) == {"items", "scores", "certified"}


def test_the_driver_takes_what_it_has_measured_and_not_what_is_written_meanwhile(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = world.plan("popularity")[0].spec
    requests = Requests(user=np.array([0]), history=Ragged.of([[1]]))
    honest, other = np.arange(20)[None], np.arange(20)[None, ::-1]
    record = RankRecord(seconds=1.0, stats={}, peak=PeakMemory(host_bytes=1, gpu_bytes=None))
    handover.leave(tmp_path, Ranking(items=honest), record)

    def read_and_replaced(path: Path) -> bytes:
        content = read_plain(path)
        np.savez(path, items=other)  # as a process that outlives its worker may do
        return content

    monkeypatch.setattr(handover, "read_plain", read_and_replaced)
    taken, _ = handover.take(tmp_path, requests, num_items=60, spec=spec)
    assert taken.items.tolist() == honest.tolist()
