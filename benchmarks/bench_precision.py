"""Compare bf16 with fp32 on a pretrained backbone: training with LoRA, scoring, and grounding's generation.

    python benchmarks/bench_precision.py -b smollm2-135m-q4 --cache /tmp/cache

Both precisions take turns in one process. Each part is the median of `--rounds` ratios, so that a busy
machine slows both. Compare ratios: absolute times depend on the machine.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from recbench.llm.decoding.generate import generate
from recbench.llm.model.backbone import add_lora, locate
from recbench.llm.model.pretrained import dense_folder, pretrained_model
from recbench.settings import TrainSettings
from recbench.stages import StageCache

LENGTH, NEW = 256, 12


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-b", "--backbone", default="smollm2-135m-q4")
    parser.add_argument("--cache", type=Path, required=True, help="where a GGUF file is unpacked")
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    folder = dense_folder(locate(options.backbone), StageCache(options.cache))
    models = {}
    for precision in ("fp32", "bf16"):
        base = pretrained_model(folder, precision=precision, device="cpu")
        models[precision] = add_lora(base, TrainSettings(), [], seed=0)
    ids = torch.randint(1000, 20_000, (options.rows, LENGTH), generator=torch.Generator().manual_seed(0))
    parts: dict[str, Callable[[Any], object]] = {
        "train": lambda model: model(input_ids=ids, labels=ids).loss.backward(),
        "score": torch.no_grad()(lambda model: model(input_ids=ids, logits_to_keep=NEW)),
        "generate": lambda model: generate(
            model, ids.tolist(), eos=2, max_new=NEW, beam=4, batch=options.rows
        ),
    }
    for part, work in parts.items():
        times: dict[str, list[float]] = {precision: [] for precision in models}
        for turn in range(options.rounds + 1):
            for precision, model in models.items():
                start = time.perf_counter()
                work(model)
                if turn:  # the first is a warm-up
                    times[precision].append(time.perf_counter() - start)
        ratios = [slow / fast for slow, fast in zip(times["fp32"], times["bf16"], strict=True)]
        tokens = options.rows * (NEW if part == "generate" else LENGTH)
        speeds = {precision: tokens / statistics.median(taken) for precision, taken in times.items()}
        print(
            f"{part}: bf16 is {statistics.median(ratios):.2f} times as fast "
            f"({min(ratios):.2f} to {max(ratios):.2f}); tokens/s "
            + ", ".join(f"{precision} {speed:.0f}" for precision, speed in speeds.items()),
            flush=True,
        )


if __name__ == "__main__":
    main()
