"""Energy from NVML: counters, else sampled power, else nothing; what a run is told to have drawn, by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from recbench.base.environment import PeakMemory, energy_between
from recbench.board.costs import mean_cost
from recbench.results.fit_record import Facts, FitRecord, RankRecord, Spent
from recbench.running.attempts import Attempts
from recbench.running.costs import energy
from recbench.running.costs.energy import SampledPower, energy_of
from recbench.running.costs.standalone import efficiency
from recbench.stages import MILLIJOULES, StageCache

PEAK = PeakMemory(host_bytes=1, gpu_bytes=5)
ONE = {"CUDA_VISIBLE_DEVICES": "0"}
KWH = 3_600_000_000
"""Millijoules of a kilowatt-hour: 1000 W for 3600 s, in thousandths."""


class FakeNVMLError(Exception):
    pass


@dataclass
class FakeNVML:
    """NVML with devices that have drawn so many millijoules, and draw so many milliwatts now."""

    drawn: Mapping[str, int | None]
    power: Mapping[str, int | None] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    NVMLError: type[Exception] = FakeNVMLError

    def nvmlDeviceGetCount(self) -> int:
        return len(self.drawn)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        if index >= len(self.drawn):
            raise FakeNVMLError("no such device")
        return list(self.drawn)[index]

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        return uuid

    def nvmlDeviceGetName(self, handle: str) -> str:
        return self.names.get(handle, "NVIDIA A100")

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:
        return self._known(self.drawn.get(handle))

    def nvmlDeviceGetPowerUsage(self, handle: str) -> int:
        return self._known(self.power.get(handle))

    def _known(self, value: int | None) -> int:
        if value is None:
            raise FakeNVMLError("not supported")
        return value


def read(nvml: Any, environ: Mapping[str, str] = ONE, device: str = "cuda") -> int | None:
    return energy_of(device, environ, lambda: nvml)()


TWO = FakeNVML({"GPU-a": 1000, "GPU-b": 70})


@pytest.mark.parametrize(
    ("environ", "drawn"),
    [
        ({"CUDA_VISIBLE_DEVICES": "0"}, 1000),
        ({"CUDA_VISIBLE_DEVICES": "1"}, 70),
        ({"CUDA_VISIBLE_DEVICES": "0,1"}, 1070),
        ({"CUDA_VISIBLE_DEVICES": "GPU-b"}, 70),
        ({}, None),  # which of the two is not said
        ({"CUDA_VISIBLE_DEVICES": "MIG-1"}, None),
        ({"CUDA_VISIBLE_DEVICES": "7"}, None),
        ({"CUDA_VISIBLE_DEVICES": ""}, None),
        ({"CUDA_VISIBLE_DEVICES": "0", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}, None),  # two nodes
        ({"CUDA_VISIBLE_DEVICES": "0,1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}, 1070),
    ],
)
def test_the_counters_of_the_visible_devices_are_added(environ: Mapping[str, str], drawn: int | None) -> None:
    assert read(TWO, environ) == drawn


def test_numbers_of_different_models_are_certain_only_in_the_order_of_the_bus() -> None:
    """CUDA puts the fastest first, NVML does not."""
    mixed = replace(TWO, names={"GPU-b": "NVIDIA T4"})
    assert read(mixed) is None
    assert read(mixed, {**ONE, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}) == 1000
    assert read(mixed, {"CUDA_VISIBLE_DEVICES": "GPU-a"}) == 1000


def test_without_nvml_and_without_a_gpu_nothing_is_known_and_nothing_is_asked() -> None:
    assert read(None) is None

    def never() -> Any:
        raise AssertionError("NVML is asked")

    assert energy_of("cpu", {}, never)() is None


def test_a_device_without_counter_and_power_has_no_energy() -> None:
    assert read(FakeNVML({"GPU-a": None})) is None


def test_a_device_without_counter_is_sampled() -> None:
    found = energy_of("cuda", ONE, lambda: FakeNVML({"GPU-a": None}, {"GPU-a": 250_000}))
    assert isinstance(found, SampledPower)
    before, after = found(), found()
    assert before is not None
    assert after is not None
    assert after >= before


def test_power_is_integrated_by_trapezoids_and_a_gap_makes_it_unknown() -> None:
    """100 W, after 2 s 300 W, after 4 s more 300 W: 400 J and 1200 J."""
    power: dict[str, int | None] = {"GPU-a": 100_000}
    times = iter([10.0, 12.0, 16.0])
    sampled = SampledPower(FakeNVML({"GPU-a": None}, power), ["GPU-a"], lambda: next(times))
    assert sampled() == 0
    power["GPU-a"] = 300_000
    assert sampled() == 400_000
    assert sampled() == 1_600_000
    power["GPU-a"] = None
    assert sampled() is None
    power["GPU-a"] = 300_000
    assert sampled() is None


@pytest.mark.parametrize(
    ("before", "after", "drawn"), [(5, 12, 7), (5, 5, 0), (None, 12, None), (5, None, None), (12, 5, None)]
)
def test_a_counter_that_began_anew_is_not_known(
    before: int | None, after: int | None, drawn: int | None
) -> None:
    assert energy_between(before, after) == drawn


def test_a_stage_and_the_attempts_of_a_fit_record_what_was_drawn(tmp_path: Path) -> None:
    """The counter goes on by 10 for each look; a stage looks twice, and so does an attempt around it."""
    looks = iter(range(0, 1000, 10))
    stages = StageCache(tmp_path / "stages", energy=lambda: next(looks))
    spent = Attempts(tmp_path / "attempts.jsonl", stages)
    with spent.counted():
        stages.get("made", {"of": 1}, lambda _: None)
    total = spent.total()
    (name,) = total.stages
    assert total.stage_counts[name] == {MILLIJOULES: 10}
    assert total.millijoules == 30
    again = Attempts(tmp_path / "attempts.jsonl", StageCache(tmp_path / "stages"))
    with again.counted():
        pass
    assert again.total().millijoules is None  # the second attempt was not measured


def fitted(millijoules: int | None, **stages: int | None) -> FitRecord:
    spent = Spent(
        seconds=10.0,
        attempts=1,
        stages=dict.fromkeys(stages, 1.0),
        stage_counts={name: {} if mj is None else {MILLIJOULES: mj} for name, mj in stages.items()},
        stages_built=list(stages),
        millijoules=millijoules,
    )
    return FitRecord(spent=spent, counts={}, facts=Facts(), peak=PEAK, device="cuda", threads=1)


def test_a_run_has_the_energy_of_its_fit_its_parent_their_stages_and_its_ranking() -> None:
    ranked = RankRecord(seconds=2.0, stats={}, peak=PEAK, millijoules=KWH)
    parent = fitted(6 * KWH, shared=2 * KWH)
    cost = efficiency(fitted(5 * KWH, shared=2 * KWH, own=KWH), ranked, [parent])
    # of the fit 5 - 2 - 1, of the parent 6 - 2, the stages once each
    assert cost["energy_kwh"] == {"fit": 2, "parent": 4, "stages": 3, "rank": 1, "total": 10}


@pytest.mark.parametrize("missing", ["fit", "stage", "rank", "parent"])
def test_energy_is_absent_unless_all_of_it_was_measured(missing: str) -> None:
    ranked = RankRecord(seconds=2.0, stats={}, peak=PEAK, millijoules=None if missing == "rank" else 1)
    own = fitted(None if missing == "fit" else 5, shared=None if missing == "stage" else 1)
    parent = fitted(None if missing == "parent" else 5)
    assert "energy_kwh" not in efficiency(own, ranked, [parent])


def test_records_keep_the_energy_and_those_of_earlier_versions_have_none(tmp_path: Path) -> None:
    record = fitted(7)
    record.write(tmp_path)
    assert FitRecord.read(tmp_path).spent.millijoules == 7
    earlier = record.to_json()
    del earlier["millijoules"]
    assert FitRecord.from_json(earlier).spent.millijoules is None
    ranked = RankRecord(seconds=2.0, stats={}, peak=PEAK, millijoules=3)
    ranked.write(tmp_path)
    assert RankRecord.read(tmp_path) == ranked


def test_a_board_has_the_mean_of_rows_whose_runs_were_all_measured() -> None:
    class Run:
        def __init__(self, **cost: Any) -> None:
            self.efficiency = cost

    runs: list[Any] = [Run(energy_kwh={"fit": 1.0, "total": 1.5}), Run(energy_kwh={"fit": 2.0, "total": 2.5})]
    assert mean_cost(runs, "energy_kwh") == 2.0
    runs += [Run()]
    assert mean_cost(runs, "energy_kwh") is None


def test_this_machine_answers_or_has_no_energy() -> None:
    found = energy.loaded()
    if found is None:
        assert energy_of("cuda", ONE)() is None
    else:
        assert found.nvmlDeviceGetCount() >= 0
