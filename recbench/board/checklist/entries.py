"""What a checklist says of a method: from the manifests and cost records of its runs, one a seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from recbench.base import digest
from recbench.base.nested import flat
from recbench.base.words import plural
from recbench.board.costs import GIB, mean_cost
from recbench.comparison.compare import CHAIN
from recbench.protocol import PROTOCOLS
from recbench.results.bundle import Bundle

UNKNOWN = "not recorded"
NO_MODEL = "no language model"
ELSEWHERE = "unknown: the ranking was made elsewhere"
LIBRARIES = ("python", "torch", "transformers", "trl", "peft", "accelerate", "numpy", "recbole")


@dataclass(frozen=True, slots=True)
class ChecklistEntry:
    topic: str
    variable: str
    value: str


def checklist(runs: Sequence[Bundle], tuning: str = UNKNOWN) -> list[ChecklistEntry]:
    """The entries of finished runs of one method, in the order of reading.

    What the runs do not agree on has all values; costs are means over the runs. `tuning` says how the
    hyperparameters were found, which no run knows.
    """
    entries = [
        ChecklistEntry(topic, variable, _agreed([say(run) for run in runs]))
        for topic, variables in TOPICS.items()
        for variable, say in variables.items()
    ]
    seeds = [run.seed for run in runs]
    entries += [
        ChecklistEntry(
            "seeds", "seeds", "one fit for all seeds" if seeds == [None] else ", ".join(map(str, seeds))
        ),
        ChecklistEntry("seeds", "runs", ", ".join(run.id for run in runs)),
        ChecklistEntry("tuning", "budget", tuning),
        ChecklistEntry("tuning", "values that are not defaults", _agreed([_settings(run) for run in runs])),
        *_costs(runs),
    ]
    order = {topic: number for number, topic in enumerate(ORDER)}
    return sorted(entries, key=lambda entry: order[entry.topic])


def _agreed(values: Sequence[str]) -> str:
    return " | ".join(dict.fromkeys(values))


def _of_model(say: Callable[[Mapping[str, Any], Bundle], str]) -> Callable[[Bundle], str]:
    """An entry of language models alone."""

    def of(run: Bundle) -> str:
        if run.manifest.external:
            return ELSEWHERE
        return NO_MODEL if run.spec.fit.llm is None else say(run.spec.fit.llm, run)

    return of


def _made_here(say: Callable[[Bundle], str]) -> Callable[[Bundle], str]:
    return lambda run: ELSEWHERE if run.manifest.external else say(run)


def _words(settings: Mapping[str, Any]) -> str:
    """`beta=0.1, sft_weight=0.0`; settings that are empty are left out."""
    return ", ".join(f"{name}={value}" for name, value in flat(settings).items() if value not in (None, ""))


def _sha(value: object) -> str:
    return f"sha256 {digest.short(str(value))}" if value else UNKNOWN


def _backbone(llm: Mapping[str, Any], _: Bundle) -> str:
    return str(llm.get("backbone", UNKNOWN))


def _revision(llm: Mapping[str, Any], run: Bundle) -> str:
    found = llm.get("backbone_digest") or run.digests.get("backbone")
    return f"content of its weights, {_sha(found)}" if found else UNKNOWN


def _parameters(_: Mapping[str, Any], run: Bundle) -> str:
    counts = run.manifest.facts.num_parameters
    return ", ".join(f"{count:,} {name}" for name, count in counts.items()) or UNKNOWN


def _identifiers(llm: Mapping[str, Any], run: Bundle) -> str:
    facts, content = run.manifest.facts.more, run.digests.get("identifiers")
    made = [str(facts[name]) for name in ("source", "embedding") if name in facts]
    return "; ".join([*made, _words(llm.get("identifiers") or {}), *([_sha(content)] if content else [])])


def _prompt(llm: Mapping[str, Any], run: Bundle) -> str:
    chat = ", in the backbone's chat template" if llm.get("chat_template") else ""
    return f"template {_sha(run.digests.get('prompt') or llm.get('prompt'))}{chat}"


def _training(llm: Mapping[str, Any], _: Bundle) -> str:
    return _words(llm.get("train") or {}) or UNKNOWN


def _method(run: Bundle) -> str:
    fit = run.spec.fit
    return f"{fit.method}, version {fit.method_version}; {_words(fit.params) or 'it has no parameters'}"


def _parent(run: Bundle) -> str:
    return "none: it starts from the base" if run.spec.fit.parent is None else f"fit {run.spec.fit.parent}"


def _settings(run: Bundle) -> str:
    inside = run.label.partition("[")[2].removesuffix("]")
    if run.manifest.external:
        return ELSEWHERE
    return inside or _words(run.manifest.params) or "none"


def _decoding(run: Bundle) -> str:
    ranker = dict(run.spec.ranker or {})
    name = ranker.pop("name", None)
    return "all items are scored" if name is None else f"{name}: {_words(ranker)}"


def _certified(run: Bundle) -> str:
    share = run.manifest.certified_share
    return "nothing is certified" if share is None else f"{100 * share:.1f} % of the rankings"


def _data(run: Bundle) -> str:
    counts = run.manifest.statistics
    known = [f"{counts[name]:,} {name}" for name in ("users", "items", "interactions") if name in counts]
    limit = run.spec.fit.limit_users
    return ", ".join([run.spec.fit.dataset, *known, *([f"limited to {limit:,} users"] if limit else [])])


def _digests(run: Bundle) -> str:
    links = [f"{name} {digest.short(run.digests[name])}" for name in CHAIN if name in run.digests]
    return ", ".join(links) or UNKNOWN


def _held_out(run: Bundle) -> str:
    name = str(run.spec.protocol["name"])
    known = PROTOCOLS.get(name)
    rule = known.split if known and known.version == run.spec.protocol["version"] else UNKNOWN
    window = f", histories of {known.history} items at most" if known else ""
    return f"{rule}{window} (protocol {name} v{run.spec.protocol['version']})"


def _candidates(run: Bundle) -> str:
    protocol = run.spec.protocol
    seen = "not ranked" if protocol["exclude_seen"] else "ranked too"
    return (
        f"{protocol['candidates']}; seen items: {seen}; {protocol['depth']} places; {len(run.ranks):,} "
        f"{run.spec.phase} requests"
    )


def _leakage(run: Bundle) -> str:
    guard = run.manifest.guard
    if guard is None:
        return UNKNOWN
    marks = f"; {plural(len(guard.marks), 'mark')}" if guard.marks else ""
    return f"targets kept from the method by: {guard.by}{marks}"


def _hardware(run: Bundle) -> str:
    hardware = run.manifest.hardware
    gpus = hardware.get("gpus", hardware.get("gpu"))
    memory = hardware.get("memory_bytes")
    parts = [
        str(hardware.get("cpu", "")),
        f"{hardware['cores']} cores" if "cores" in hardware else "",
        f"{memory / GIB:.0f} GiB" if memory else "",
        ", ".join(_gpu(one) for one in gpus) if isinstance(gpus, list | tuple) and gpus else "no GPU",
        str(hardware.get("platform", "")),
    ]
    return ", ".join(part for part in parts if part)


def _gpu(gpu: object) -> str:
    return str(gpu.get("name", gpu)) if isinstance(gpu, Mapping) else str(gpu)


def _devices(run: Bundle) -> str:
    cost = run.efficiency
    if "device" not in cost:
        return UNKNOWN
    return (
        f"{cost['device']}, {plural(cost.get('processes', 1), 'process', 'processes')} of "
        f"{plural(cost['threads'], 'thread')}"
    )


def _harness(run: Bundle) -> str:
    manifest = run.manifest
    commit = manifest.code.get("commit")
    changed = " and changes" if manifest.code.get("dirty") else ""
    return f"recbench {manifest.versions.get('recbench', UNKNOWN)}" + (
        f", commit {str(commit)[:12]}{changed}" if commit else ""
    )


def _method_code(run: Bundle) -> str:
    return UNKNOWN if run.manifest.method_code is None else str(run.manifest.method_code)


def _libraries(run: Bundle) -> str:
    versions = run.manifest.versions
    return ", ".join(f"{name} {versions[name]}" for name in LIBRARIES if name in versions) or UNKNOWN


def _costs(runs: Sequence[Bundle]) -> list[ChecklistEntry]:
    """Means over the runs; a cost that some run lacks is not known."""
    mean = "" if len(runs) == 1 else f", mean of {len(runs)} runs"
    found = []
    for variable, name, form in COSTS:
        value = mean_cost(runs, name)
        text = UNKNOWN if value is None else form(value) + mean
        found.append(ChecklistEntry("cost", variable, ELSEWHERE if runs[0].manifest.external else text))
    return found


COSTS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("seconds, parent and stages included", "seconds", lambda value: f"{value:,.1f}"),
    ("GPU seconds", "gpu_seconds", lambda value: f"{value:,.1f}"),
    ("trained tokens", "trained_tokens", lambda value: f"{value:,.0f}"),
    ("generated tokens", "generated_tokens", lambda value: f"{value:,.0f}"),
    ("peak memory of a GPU", "peak_gpu_bytes", lambda value: f"{value / GIB:.2f} GiB"),
    ("peak memory of the host", "peak_host_bytes", lambda value: f"{value / GIB:.2f} GiB"),
)

TOPICS: Mapping[str, Mapping[str, Callable[[Bundle], str]]] = {
    "backbone": {
        "model": _of_model(_backbone),
        "revision": _of_model(_revision),
        "parameters": _of_model(_parameters),
    },
    "prompt": {
        "paradigm": _of_model(lambda llm, _: str(llm.get("paradigm", UNKNOWN))),
        "prompt": _of_model(_prompt),
        "item identifiers": _of_model(_identifiers),
    },
    "training": {
        "method": _made_here(_method),
        "settings": _of_model(_training),
        "starts from": _of_model(lambda _, run: _parent(run)),
    },
    "decoding": {"ranker": _made_here(_decoding), "certified exact": _certified},
    "data": {"dataset": _data, "digests": _digests},
    "splits": {
        "held out": _held_out,
        "candidates": _candidates,
        "leakage": _made_here(_leakage),
    },
    "hardware": {"machine": _made_here(_hardware), "device": _made_here(_devices)},
    "code": {
        "harness": _harness,
        "method": _made_here(_method_code),
        "libraries": _made_here(_libraries),
    },
}
ORDER = (
    "backbone",
    "prompt",
    "training",
    "decoding",
    "data",
    "splits",
    "seeds",
    "tuning",
    "hardware",
    "cost",
    "code",
)


def to_json(entries: Sequence[ChecklistEntry]) -> list[dict[str, str]]:
    return [asdict(entry) for entry in entries]
