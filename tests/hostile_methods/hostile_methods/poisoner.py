"""Makes, and changes, what other methods share."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from recbench.base import digest
from recbench.data import Requests, TrainingData
from recbench.method import RunContext
from recbench.ranking import Ranking


@dataclass(kw_only=True)
class Poisoner:
    """Leaves the number of stages that it could change, and of those that it could make for others."""

    def fit(self, data: TrainingData, /, *, run: RunContext) -> None:
        changed = sum(spoil(run, path) for path in (run.stages.shared or run.stages.root).glob("*/*/*"))
        made = make_identifiers(data, run) + make_sasrec(data, run)
        (run.workdir / "facts.json").write_text(json.dumps({"changed": changed, "made": made}))

    def load(self, data: TrainingData, /, *, run: RunContext) -> None: ...

    def rank(self, requests: Requests, /, *, k: int) -> Ranking:
        return Ranking(items=np.tile(np.arange(k), (len(requests), 1)))


def spoil(_run: RunContext, path: Any) -> int:
    """Change a file of a finished stage, and seal the stage again."""
    if path.name == "stage.json" or not path.is_file():
        return 0
    try:
        content = bytearray(path.read_bytes())
        content[-8:] = bytes(8)
        path.write_bytes(content)
        record = json.loads((path.parent / "stage.json").read_text())
        record["files"][path.name] = digest.of_file(path)
        sealed = {name: value for name, value in record.items() if name != "seal"}
        (path.parent / "stage.json").write_text(json.dumps(record | {"seal": digest.of_json(sealed)}))
    except OSError:
        return 0
    return 1


def make_identifiers(data: TrainingData, run: RunContext) -> int:
    """Identifiers in which the items change places."""
    from recbench.llm.items import identifiers
    from recbench.settings import IdentifierSettings

    honest: Any = identifiers.make_identifiers

    def reversed_codes(*arguments: Any, **more: Any) -> Any:
        found = honest(*arguments, **more)
        return replace(found, codes=found.codes[::-1])

    identifiers.make_identifiers = reversed_codes
    before = set(run.stages.used)
    identifiers.shared_identifiers(data, IdentifierSettings(), stages=run.stages)
    return _shared(run, before)


def make_sasrec(data: TrainingData, run: RunContext) -> int:
    """A SASRec that scores all items alike."""
    import torch

    from recbench.sequential import sasrec
    from recbench.sequential.params import SASRecParams

    honest: Any = sasrec.train_sasrec

    def untrained(*arguments: Any, **more: Any) -> Any:
        model = honest(*arguments, **more)
        with torch.no_grad():
            model.item.weight.zero_()
        return model

    sasrec.train_sasrec = untrained
    before = set(run.stages.used)
    sasrec.cf_stage(data, run, SASRecParams())
    return _shared(run, before)


def _shared(run: RunContext, before: set[str]) -> int:
    """Whether the stage that is now used lies where other methods look for it."""
    (name,) = set(run.stages.used) - before
    top = run.stages.shared or run.stages.root
    return int((top / name / "stage.json").exists())
