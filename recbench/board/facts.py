"""How the runs of a row were made, as their manifests say it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from recbench.base.nested import flat
from recbench.board.rows import MethodRuns
from recbench.results.bundle import Bundle


def facts_of(row: MethodRuns, metric: str) -> dict[str, str]:
    """Text by term, in the order of reading. What differs between the seeds stands side by side, with |."""
    scores = [f"{run.per_request(metric).mean():.4f}" for run in row.runs]
    seeds = ["" if run.seed is None else f" (seed {run.seed})" for run in row.runs]
    found = {"mean of each run": ", ".join(map(str.__add__, scores, seeds))}
    told: Mapping[str, Callable[[Bundle], str]] = {
        "ranking": _ranking,
        "parameters": lambda run: _pairs(run.spec.fit.params),
        "not the default": lambda run: _pairs(run.manifest.params),
        "prompt": lambda run: str((run.spec.fit.llm or {}).get("prompt", "")),
        "training": lambda run: _pairs((run.spec.fit.llm or {}).get("train", {})),
        "identifiers": lambda run: _pairs((run.spec.fit.llm or {}).get("identifiers", {})),
        "decoding": lambda run: _pairs(run.spec.ranker or {}),
        "code": lambda run: str(run.manifest.method_code or ""),
        "harness": lambda run: _commit(run.manifest.code),
        "versions": lambda run: _pairs(run.manifest.versions, " "),
        "hardware": lambda run: _pairs(run.manifest.hardware, " "),
        "finished": lambda run: (run.manifest.finished or "")[:10],
    }
    for term, tell in told.items():
        if said := _joined(tell(run) for run in row.runs):
            found[term] = said
    return found


def _joined(texts: Iterable[str]) -> str:
    return " | ".join(dict.fromkeys(text for text in texts if text))


def _pairs(values: Mapping[str, Any], between: str = "=") -> str:
    """`beta=0.1, negatives=3`; digests are cut, what has no value is left out."""
    known = {name: value for name, value in flat(values).items() if value is not None}
    return ", ".join(f"{name}{between}{_short(name, value)}" for name, value in known.items())


def _short(name: str, value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text[:12] if "digest" in name or "sha256" in name else text


def _commit(code: Mapping[str, Any]) -> str:
    commit = str(code.get("commit") or "")[:12]
    return commit and f"recbench at commit {commit}{' and changes' * bool(code.get('dirty'))}"


def _ranking(run: Bundle) -> str:
    made = run.manifest.ranking
    return "" if made is None else f"{made.file}, sha256 {made.sha256[:12]}"
