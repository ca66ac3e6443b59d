"""What several of these scripts share: a dataset's split, fits outside of any bundle, lines of a ledger."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recbench.base.root import discover
from recbench.data import TrainingData
from recbench.dataset import card
from recbench.dataset.prepare import prepare
from recbench.dataset.split import PreparedSplit
from recbench.method import LLMRun, ParentFit, RunContext
from recbench.planning.resolve import Selection, resolve
from recbench.protocol import get_protocol
from recbench.settings import LLMSettings
from recbench.stages import StageCache
from recbench_methods.sft import SFT


def prepared(dataset: str, root: Path, *, users: int | None = None) -> PreparedSplit:
    """The split of at most `users` users under the protocol `ilrec`, kept in the root's cache."""
    place = discover(root)
    return prepare(
        card.find(dataset, root),
        get_protocol("ilrec"),
        cache=place.cache,
        data_dir=place.data_dir,
        limit_users=users,
    )


def begin(
    method: str, dataset: str, folder: Path, *, seed: int, stages: Path, settings: Mapping[str, str]
) -> LLMRun:
    """A run with a method's recipe, one thread, and an empty place for its files."""
    llm = resolve(Selection(method=method, dataset=dataset, seed=seed, settings=settings)).llm
    assert llm is not None
    folder.mkdir(parents=True)
    return begin_in(folder, llm, seed=seed, stages=stages)


def begin_in(folder: Path, llm: LLMSettings, *, seed: int, stages: Path) -> LLMRun:
    """A run of one thread in a folder."""
    return RunContext(seed=seed, workdir=folder, stages=StageCache(stages), threads=1).with_llm(llm)


def parent(data: TrainingData, run: LLMRun) -> ParentFit:
    """`sft`, trained and saved where others can start from it."""
    method = SFT()
    policy = method.start(data, run)
    method.train(policy, data, run)
    policy.save(run.workdir / "model")
    return ParentFit(id="parent", workdir=run.workdir, trained_tokens=0, llm=run.llm)


def append(record: Mapping[str, Any], ledger: Path | None) -> None:
    """Add a line to the ledger, where there is one."""
    if ledger is not None:
        with ledger.open("a") as stream:
            stream.write(json.dumps(record) + "\n")
