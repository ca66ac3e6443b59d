"""What MLflow stores of a bundle: tags, parameters, numbers and curves, under names that it takes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from recbench.base import digest
from recbench.base.nested import flat, is_number
from recbench.comparison.block import block_of, short_block
from recbench.protocol import estimand
from recbench.results import metrics
from recbench.results.bundle import Bundle

# MLflow refuses longer texts.
LONGEST_PARAM = 500
LONGEST_TAG = 4000
LONGEST_NAME = 250
USUAL_PROTOCOL = "ilrec"


def tags(bundle: Bundle) -> dict[str, str]:
    """The tags by which runs are found: ids, digests, protocol, parent, dataset, status."""
    spec, manifest = bundle.spec, bundle.manifest
    values = {
        "run_id": bundle.id,
        "fit_id": spec.fit.id,
        "parent": spec.fit.parent,
        "label": bundle.label,
        "method": spec.fit.method,
        "dataset": spec.fit.dataset,
        "protocol": f"{spec.protocol['name']} v{spec.protocol['version']}",
        "phase": spec.phase,
        "estimand": estimand(spec.protocol) or None,
        "status": bundle.status,
        "reason": digest.canonical_json(dict(bundle.reason)) if bundle.reason else None,
        "off_protocol": manifest.off_protocol,
        "code": digest.canonical_json(dict(manifest.code)),
        **{f"block.{part}": text for part, text in (block_of(bundle) or {}).items()},
        **{f"digest.{link}": value for link, value in bundle.digests.items()},
    }
    return {
        f"recbench.{mlflow_name(key)}": str(value)[:LONGEST_TAG]
        for key, value in values.items()
        if value is not None
    }


def parameters(bundle: Bundle) -> dict[str, str]:
    """The resolved spec with dotted names; long values are cut here and complete in the manifest."""
    spec = bundle.spec.to_json()
    return {mlflow_name(key): _cut(str(value)) for key, value in flat(spec).items()}


def run_name(bundle: Bundle) -> str:
    """`ilrec · ml-100k · title · tiny`: method, dataset, block; protocol and phase where they are unusual."""
    spec, block = bundle.spec, block_of(bundle) or {}
    parts = [bundle.label, spec.fit.dataset, *(short_block(block) if block else [])]
    parts += [str(spec.protocol["name"])] if spec.protocol["name"] != USUAL_PROTOCOL else []
    parts += ["validation"] if spec.phase == "valid" else []
    return " · ".join(parts)


def results(bundle: Bundle) -> dict[str, float]:
    """Everything that a run measured, under names whose alphabet is the order of importance.

    `ndcg_at_10` and the like of test targets come first; then `ranking/` (measures of the lists), `spent/`
    (the cost record), and `valid/` for metrics of validation targets.
    """
    recomputed: Mapping[str, float] = (
        metrics.summary(bundle.ranks, bundle.spec.protocol["cutoffs"]) if len(bundle.ranks) else {}
    )
    phase = "valid/" if bundle.spec.phase == "valid" else ""
    measured = {**bundle.metrics, **recomputed}
    gains = {name: value for name, value in measured.items() if name.partition("@")[0] in metrics.GAINS}
    lists = {name: value for name, value in measured.items() if name not in gains}
    numbers = {
        **{f"{phase}{name}": value for name, value in gains.items()},
        **{f"ranking/{name}": value for name, value in lists.items()},
        "ranking/certified_share": bundle.manifest.certified_share,
        **{f"spent/{key}": value for key, value in flat(bundle.efficiency).items()},
    }
    return {mlflow_name(key): float(value) for key, value in numbers.items() if is_number(value)}


def group_results(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each metric that all runs have, training curves apart, and from two runs on their standard
    deviation under `sd/`."""
    names = [name for name in runs[0] if not name.startswith("train/")] if runs else []
    values = {name: [run[name] for run in runs] for name in names if all(name in run for run in runs)}
    means = {name: mean(found) for name, found in values.items()}
    if len(runs) < 2:
        return means
    return means | {f"sd/{name}": stdev(found) for name, found in values.items()}


def curves(records: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, float, int]]:
    """(name, value, step) of every number of a training log, under `train/`. The step of a record without one
    is the number of its line."""
    for line, record in enumerate(records):
        step = int(record.get("step", line))
        for key, value in record.items():
            if key != "step" and is_number(value):
                yield mlflow_name(f"train/{key}"), float(value), step


def mlflow_name(key: str) -> str:
    """A name that MLflow accepts: `@` as `_at_`, other characters that it refuses as `_`."""
    return re.sub(r"[^\w\-. /]", "_", key.replace("@", "_at_"), flags=re.ASCII)[:LONGEST_NAME]


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_PARAM else text[: LONGEST_PARAM - 1] + "…"
