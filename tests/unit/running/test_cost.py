"""GPU-seconds: every GPU that was held counts, a shared stage was made by one."""

from __future__ import annotations

from dataclasses import replace

from recbench.base.environment import PeakMemory
from recbench.results.fit_record import Facts, FitRecord, RankRecord, Spent
from recbench.running.costs.standalone import efficiency

GPU = PeakMemory(host_bytes=1, gpu_bytes=5)
CPU = PeakMemory(host_bytes=1, gpu_bytes=None)


def fitted(seconds: float, *, processes: int, peak: PeakMemory = GPU) -> FitRecord:
    """A fit that made a stage of 3 seconds on its way."""
    return FitRecord(
        spent=Spent(seconds=seconds, attempts=1, stages={"made/s": 3.0}, stages_built=["made/s"]),
        counts={},
        facts=Facts(),
        peak=peak,
        device="cuda",
        threads=1,
        processes=processes,
    )


def test_the_seconds_of_selection_are_those_of_all_stages_and_their_share_of_the_training() -> None:
    ranked = RankRecord(seconds=2.0, stats={}, peak=CPU)
    stages = {"sft-0": {"kept": 4, "seconds": 0.5}, "dpo-0": {"kept": 2, "seconds": 1.5}}
    parent = replace(
        fitted(8.0, processes=1), facts=Facts(more={"selection": {"training": {"seconds": 1.0}}})
    )
    cost = efficiency(
        replace(fitted(13.0, processes=1), facts=Facts(more={"selection": stages})), ranked, [parent]
    )
    assert cost["selection_seconds"] == 3.0
    assert cost["selection_share"] == 3.0 / (10 + 5)  # of the own seconds of both, without stages
    assert cost["seconds"]["total"] == 10 + 5 + 3 + 2  # they are part of the fit's seconds already
    without = efficiency(fitted(13.0, processes=1), ranked)
    assert (without["selection_seconds"], without["selection_share"]) == (None, None)


def test_gpu_seconds_are_seconds_times_processes_and_a_stage_counts_once() -> None:
    ranked = RankRecord(seconds=2.0, stats={}, peak=GPU, processes=4)
    cost = efficiency(fitted(13.0, processes=4), ranked, [fitted(8.0, processes=2)])
    # own training (13 - 3) on 4, the parent's (8 - 3) on 2, ranking 2 on 4, and the stage 3 on 1
    assert cost["gpu_seconds"] == 10 * 4 + 5 * 2 + 2 * 4 + 3
    assert cost["seconds"]["total"] == 10 + 5 + 2 + 3
    assert cost["processes"] == 4


def test_a_run_that_used_a_gpu_in_one_phase_only_holds_it_in_all() -> None:
    ranked = RankRecord(seconds=2.0, stats={}, peak=GPU)
    cost = efficiency(fitted(13.0, processes=1, peak=CPU), ranked)
    assert cost["gpu_seconds"] == 10 + 3 + 2


def test_a_run_without_a_gpu_has_no_gpu_seconds() -> None:
    ranked = RankRecord(seconds=2.0, stats={}, peak=CPU, processes=2)
    assert efficiency(fitted(13.0, processes=2, peak=CPU), ranked)["gpu_seconds"] is None
