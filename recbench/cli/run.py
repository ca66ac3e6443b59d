"""`recbench run`: the selection in words, what it was resolved to, and what came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recbench.api.scheduling import Scheduling
from recbench.cli._options import (
    BackboneOption,
    DatasetsOption,
    DetachOption,
    ForceOption,
    GpusOption,
    JsonOption,
    LimitUsersOption,
    MethodsOption,
    NodesOption,
    OfflineOption,
    OnOption,
    ParadigmOption,
    ParallelOption,
    ProfileOption,
    ProtocolOption,
    RankerOption,
    RegimeOption,
    RootOption,
    SeedOption,
    SeedsOption,
    SettingsOption,
    StudyOption,
    TimeOption,
    find_root,
)
from recbench.errors import UsageError

if TYPE_CHECKING:
    from recbench.base.progress import Listener
    from recbench.base.root import Root
    from recbench.planning.plan import Planned


_NAMING = ("source", "levels", "codes", "max_tokens")


def run(
    method: MethodsOption = None,
    dataset: DatasetsOption = None,
    study: StudyOption = None,
    backbone: BackboneOption = None,
    paradigm: ParadigmOption = None,
    protocol: ProtocolOption = None,
    ranker: RankerOption = None,
    seed: SeedOption = None,
    seeds: SeedsOption = None,
    settings: SettingsOption = None,
    regime: RegimeOption = None,
    parent: Annotated[
        str | None, typer.Option(help="Fit to start from, by its id, instead of the block's own sft.")
    ] = None,
    phase: Annotated[
        str | None, typer.Option(help="test, or valid to rank the validation items. [test]")
    ] = None,
    on: OnOption = "local",
    profile: ProfileOption = None,
    gpus: GpusOption = None,
    nodes: NodesOption = None,
    time: TimeOption = None,
    max_parallel: ParallelOption = None,
    detach: DetachOption = False,
    force: ForceOption = False,
    replay: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Fit a finished run again in a new folder, compare ranks."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run, with its ids.")] = False,
    limit_users: LimitUsersOption = None,
    root: RootOption = None,
    offline: OfflineOption = False,
    json: JsonOption = False,
) -> None:
    """Fit and rank methods on datasets; finished runs are reused, failed ones are tried again."""
    from recbench.api.matrix import control_notes, refuse_idle_settings, study_or_selections
    from recbench.api.scheduling import execute
    from recbench.cli._execute import interruptible, print_and_exit
    from recbench.planning import plan as planning

    place = find_root(root)
    if replay is not None:
        _replay(replay, place, offline=offline, as_json=json, others=bool(method or dataset or study))
        return
    matrix, selections = study_or_selections(
        study,
        place,
        method=method,
        dataset=dataset,
        backbone=backbone,
        paradigm=paradigm,
        protocol=protocol,
        ranker=ranker,
        seed=seed,
        seeds=seeds,
        settings=settings,
        regime=regime,
        parent=parent,
        limit_users=limit_users,
        phase=phase,
    )
    scheduling = Scheduling(
        on=on,
        profile=profile,
        gpus=gpus,
        nodes=nodes,
        time=time,
        max_parallel=max_parallel,
        detach=detach,
    )
    with interruptible() as listener:
        planned = planning.plan(selections, place, offline=offline, listener=listener)
        refuse_idle_settings([run.resolved for run in planned])
        _announce(planned, listener)
        for note in control_notes([run.resolved for run in planned]):
            listener.say(f"note: {note}")
        if dry_run:
            _print_plan(planned, place, as_json=json)
            return
        base = None if matrix is None else lambda run: matrix.resources_of(run.resolved)
        bundles = execute(
            planned, place, scheduling, base=base, force=force, offline=offline, listener=listener
        )
    print_and_exit(bundles, as_json=json)


def _replay(text: str, place: Root, *, offline: bool, as_json: bool, others: bool) -> None:
    from recbench.cli._execute import interruptible
    from recbench.cli._output import echo, print_json
    from recbench.results.lookup import find_run
    from recbench.verification import replay

    if others:
        raise UsageError(
            "--replay names a finished run, and nothing else", fix=f"recbench run --replay {text}"
        )
    with interruptible() as listener:
        found = replay.replay(find_run(place.runs, text), place, offline=offline, listener=listener)
    if as_json:
        print_json(
            {
                "run": found.run.id,
                "folder": str(found.again.path),
                "num_requests": len(found.run.ranks),
                "num_other_ranks": found.num_other_ranks,
                "differs": found.differs,
            }
        )
    replay.check(found)
    if not as_json:
        echo(f"{found.run.id}  {found.run.label}: all {len(found.run.ranks):,} ranks came out the same")
        echo(f"folder: {found.again.path}")


def _announce(planned: Sequence[Planned], listener: Listener) -> None:
    """What was resolved, each with the flag that changes it."""
    for run in {(p.split.folder, p.spec.protocol["name"]): p for p in planned}.values():
        split, protocol = run.split, run.spec.protocol
        listener.say(
            f"dataset    {run.spec.fit.dataset}: {split.num_users:,} users, {split.num_items:,} items  (-d)\n"
            f"protocol   {protocol['name']} v{protocol['version']}, top {protocol['depth']} of "
            f"{'the whole catalogue' if protocol['candidates'] == 'catalogue' else 'a list of candidates'}, "
            f"{split.statistics.requests[run.spec.phase]:,} {run.spec.phase} items  (--protocol, --phase)"
        )
    for lines, labels in _by_engine(planned).items():
        listener.say(f"method     {', '.join(labels)}  (-m)")
        for line in lines:
            listener.say(line)
    count = len({p.spec.fit.id for p in planned})
    fits = "1 fit" if count == 1 else f"{count} fits"
    listener.say(f"runs       {len(planned)} from {fits}  (-m, --seed, --seeds)")


def _by_engine(planned: Sequence[Planned]) -> dict[tuple[str, ...], list[str]]:
    """Methods that share every setting of the engine have its lines once."""
    found: dict[tuple[str, ...], list[str]] = {}
    for run in {p.label: p for p in planned if p.spec.fit.llm is not None}.values():
        found.setdefault(tuple(_engine_lines(run)), []).append(run.label)
    return found


def _engine_lines(run: Planned) -> list[str]:
    from recbench.comparison.block import OWNER, setting_text

    llm, ranker = run.spec.fit.llm or {}, dict(run.spec.ranker or {})
    train = llm["train"]
    naming = ", ".join(f"{key} {value}" for key, value in llm["identifiers"].items() if key in _NAMING)
    counts = run.split.statistics
    num_targets = counts.training_targets if counts.sampled_targets is None else counts.sampled_targets
    inside = ", ".join(f"{key}={value}" for key, value in ranker.items() if key != "name")
    if OWNER in ranker:
        inside = setting_text({key: value for key, value in ranker.items() if key != "name"}).strip("[]")
    weights = f"LoRA rank {train['lora_rank']}" if train["lora_rank"] else "all weights"
    several = run.resolved.plugin.traits.tasks and "tasks" in train
    asked = "--regime, --set train.KEY=VALUE" if train["budget_epochs"] else "--set train.KEY=VALUE"
    tasks = f" and the other tasks of {train['tasks']}" if several else ""
    return [
        f"  backbone   {llm['backbone']}  (-b)",
        f"  paradigm   {llm['paradigm']}: {naming}  (-p, --set identifiers.KEY=VALUE)",
        *([] if run.spec.fit.parent is None else [f"  parent     {run.spec.fit.parent}  (--parent)"]),
        f"  ranker     {ranker['name']}: {inside}  (--ranker, --set ranker.KEY=VALUE)",
        f"  training   {_amount(train, num_targets)}{tasks}, batch {train['batch']}, lr {train['lr']:g}, "
        f"{weights}, {train['precision']}  ({asked})",
    ]


def _amount(train: Mapping[str, Any], num_targets: int) -> str:
    if train["budget_epochs"]:
        return f"as many tokens as sft reads in {train['budget_epochs']:g} epochs, the parent's included"
    fewer = train["max_rows"] and train["max_rows"] < num_targets  # a row has a target at least
    rows = f"{train['max_rows']:,} rows" if fewer else f"{num_targets:,} targets"
    return f"{train['epochs']:g} epochs of {rows}"


def _print_plan(planned: Sequence[Planned], place: Root, *, as_json: bool) -> None:
    from recbench.cli._output import print_json, print_table
    from recbench.planning.reuse import OTHER_CODE, is_of_other_code
    from recbench.results import bundle

    states = {
        run.spec.id: OTHER_CODE
        if is_of_other_code(run.spec.id, run.code, place)
        else bundle.status(place.runs / run.spec.id) or "to do"
        for run in planned
    }
    if as_json:
        print_json([{**p.spec.to_json(), "label": p.label, "state": states[p.spec.id]} for p in planned])
        return
    rows = [
        (p.spec.id, fit.id, fit.parent or "-", p.label, fit.dataset, fit.seed, states[p.spec.id])
        for p in planned
        for fit in (p.spec.fit,)
    ]
    print_table(("run", "fit", "parent", "method", "dataset", "seed", "state"), rows)
