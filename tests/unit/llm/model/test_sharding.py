"""Fits whose weights are shared out over two processes end with the weights of an ordinary fit.

Run as a script under torchrun, this file makes those fits. accelerate has FSDP for GPUs alone; the script
lets it take the same path over gloo.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType
from safetensors.torch import load_file

from recbench.errors import UsageError
from recbench.llm.method import LLMMethod
from recbench.method import ParentFit, Stopped
from recbench.settings import Paradigm, TrainSettings
from recbench.testing import tiny_settings, toy_data, toy_run
from recbench_methods.ilrec import ILRec
from recbench_methods.sft import SFT
from recbench_methods.sprec import SPRec

DATA = toy_data(num_users=8, num_items=12, longest=8)
WEIGHTS = "model/model.safetensors"
CASES: dict[str, tuple[LLMMethod, Paradigm]] = {
    "sft": (SFT(), "semantic-id"),
    "ilrec": (ILRec(), "semantic-id"),
    "layers": (ILRec(phi="norm_per_layer", mu=0.0), "semantic-id"),
    "hybrid": (SFT(), "hybrid"),
    "sprec": (SPRec(iterations=2), "semantic-id"),
    "bf16": (SFT(), "semantic-id"),
}
ALONE = ("sft", "ilrec", "layers", "hybrid")
"""Those whose epochs are whole steps, so that one process is the comparison."""
INTERRUPTED = ("sft", "layers")


def fit(
    root: Path, name: str, *, sharding: Literal["none", "fsdp"] = "fsdp", stop: Path | None = None
) -> None:
    """Fit the case in `root/name`; where it starts from a parent, from the fit of `sft` beside it."""
    method, paradigm = CASES[name]
    rank, world_size = (int(os.environ.get(key, default)) for key, default in PLACE.items())
    amounts: dict[str, Any] = {"epochs": 2.0, "batch": 4, "micro_batch": 1, "max_rows": 16, "pack": "none"}
    if name == "bf16":
        amounts["precision"] = "bf16"
    llm = tiny_settings(paradigm=paradigm, sharding=sharding, **amounts)
    parent = ParentFit(id="sft", workdir=root / "sft", trained_tokens=0, llm=llm)
    run = replace(toy_run(root / name, llm=llm), rank=rank, world_size=world_size, stop=stop)
    method.fit(DATA, run=run if method.starts_from == "base" else replace(run, parent=parent))
    if world_size > 1:
        torch.distributed.barrier()  # the first process still writes what the next fit may read


PLACE = {"RANK": "0", "WORLD_SIZE": "1"}
"""What torchrun sets, and what holds without it."""


@pytest.fixture(scope="module")
def fits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folders of the fits by one process and by two."""
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    for name in ALONE:
        fit(one, name)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([*torchrun, __file__, two], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return one, two


@pytest.mark.slow
@pytest.mark.parametrize("name", ALONE)
def test_two_processes_with_half_the_weights_each_train_as_one(fits: tuple[Path, Path], name: str) -> None:
    one, two = (load_file(folder / name / WEIGHTS) for folder in fits)
    assert one.keys() == two.keys()
    for weight in one:
        assert torch.allclose(one[weight], two[weight], atol=1e-4), weight
    assert not list((fits[1] / name).glob("whole-*"))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "share"), [("sprec", 0.01), ("bf16", 0.2)])
def test_a_sharded_fit_goes_the_way_of_an_unsharded_one(
    fits: tuple[Path, Path], name: str, share: float
) -> None:
    """Between SPRec's stages the policy answers prompts; autocast is on with shards too. Adam turns gradients
    near zero into whole steps, and bf16 rounds, so weights differ; the whole is within a share of the way
    that lies between it and another fit, sft in fp32 (sprec's parent)."""
    start, usual, result = (
        torch.cat([weight.flatten() for weight in load_file(fits[1] / folder / WEIGHTS).values()])
        for folder in ("sft", f"unsharded/{name}", name)
    )
    assert (result - usual).norm() < share * (usual - start).norm()


@pytest.mark.slow
@pytest.mark.parametrize("name", INTERRUPTED)
def test_an_interrupted_sharded_fit_ends_with_the_same_weights(fits: tuple[Path, Path], name: str) -> None:
    whole, continued = (load_file(fits[1] / folder / name / WEIGHTS) for folder in ("", "stopped"))
    for weight in whole:
        assert torch.equal(whole[weight], continued[weight]), weight


@pytest.mark.slow
def test_the_projection_of_hybrid_prompts_is_whole_too(fits: tuple[Path, Path]) -> None:
    one, two = (load_file(folder / "hybrid" / "model" / "projection.safetensors") for folder in fits)
    assert all(torch.allclose(one[name], two[name], atol=1e-4) for name in one)


def test_sharding_and_lora_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="sharding=fsdp goes with lora_rank=0"):
        TrainSettings(sharding="fsdp")
    assert TrainSettings(sharding="fsdp", lora_rank=0).sharding == "fsdp"


def main() -> None:
    root, rank = Path(sys.argv[1]), int(os.environ["RANK"])
    _expect_refusal(root / "refused")
    for name in ("sft", "sprec", "bf16"):
        fit(root / "unsharded", name, sharding="none")
    AcceleratorState._reset_state()
    AcceleratorState.__init__ = _also_over_gloo(AcceleratorState.__init__)
    for name in CASES:
        fit(root, name)
    for name in INTERRUPTED:
        stop = root / "stopped" / "stop"
        stop.parent.mkdir(exist_ok=True)
        stop.touch()
        with pytest.raises(Stopped):
            fit(root / "stopped", name, stop=stop)
        torch.distributed.barrier()
        if rank == 0:
            stop.unlink()
        torch.distributed.barrier()
        fit(root / "stopped", name, stop=stop)


def _expect_refusal(root: Path) -> None:
    """Without a GPU accelerate would train unsharded, without a word."""
    with pytest.raises(UsageError, match="cannot shard weights here"):
        fit(root, "sft")
    AcceleratorState._reset_state()


def _also_over_gloo(original: Any) -> Any:
    def init(self: Any, *args: Any, fsdp_plugin: Any = None, **kwargs: Any) -> None:
        original(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
        if fsdp_plugin is not None:
            self.fsdp_plugin = fsdp_plugin
            self.distributed_type = DistributedType.FSDP
            PartialState._shared_state["distributed_type"] = DistributedType.FSDP

    return init


if __name__ == "__main__":
    main()
