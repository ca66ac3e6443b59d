"""`recbench run`: the selection in words, what it was resolved to, and what came out."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recbench.cli._options import JsonOption, OfflineOption, RootOption, StudyOption, find_root
from recbench.cli._scheduling import (
    DetachOption,
    GpusOption,
    NodesOption,
    OnOption,
    ParallelOption,
    ProfileOption,
    Scheduling,
    TimeOption,
)
from recbench.cli._selecting import (
    BackboneOption,
    DatasetsOption,
    LimitUsersOption,
    MethodsOption,
    ParadigmOption,
    ProtocolOption,
    RankerOption,
    RegimeOption,
    SeedOption,
    SeedsOption,
    SettingsOption,
    Words,
    chosen,
)
from recbench.errors import UsageError

if TYPE_CHECKING:
    from recbench.base.progress import Listener
    from recbench.base.root import Root
    from recbench.planning.plan import Planned
    from recbench.planning.resolve import Selection
    from recbench.results.bundle import Bundle


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
    force: Annotated[bool, typer.Option("--force", help="Do these runs and their fits again.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run, with its ids.")] = False,
    limit_users: LimitUsersOption = None,
    root: RootOption = None,
    offline: OfflineOption = False,
    json: JsonOption = False,
) -> None:
    """Fit and rank methods on datasets; finished runs are reused, failed ones are tried again."""
    from recbench.cli._progress import listening
    from recbench.planning import plan as planning
    from recbench.planning.resources import Resources
    from recbench.running import execute

    place = find_root(root)
    words = Words(
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
    matrix, selections = chosen(words, study, place)
    scheduling = Scheduling(
        on=on,
        profile=profile,
        gpus=gpus,
        nodes=nodes,
        time=time,
        max_parallel=max_parallel,
        detach=detach,
    )
    with listening() as listener, terminated_as_interrupt():
        try:
            planned = planning.plan(selections, place, offline=offline, listener=listener)
            _refuse_idle_settings(planned, selections)
            _announce(planned, listener)
            if dry_run:
                _print_plan(planned, place, as_json=json)
                return
            base = (lambda one: matrix.resources_of(one.resolved)) if matrix else (lambda _one: Resources())
            bundles = execute.run_all(
                planned,
                place,
                executor=scheduling.executor(planned, place),
                resources=scheduling.resources(planned, base),
                force=force,
                offline=offline,
                listener=listener,
            )
        except KeyboardInterrupt:
            listener.say("interrupted; the same command continues")
            raise typer.Exit(130) from None
    print_results(bundles, as_json=json)
    if any(one.status == "failed" for one in bundles):
        raise typer.Exit(1)


def _refuse_idle_settings(planned: Sequence[Planned], selections: Sequence[Selection]) -> None:
    """A setting that no selected method reads would be a silent nothing."""
    settings = {key for one in selections for key in one.settings}
    if settings and all(one.spec.fit.llm is None for one in planned):
        raise UsageError(
            f"no selected method uses {', '.join(sorted(settings))}",
            why="train.*, identifiers.* and ranker.* belong to methods with a language model",
            fix="-m METHOD:key=value sets a method's own parameters",
        )


def _announce(planned: Sequence[Planned], listener: Listener) -> None:
    """What was resolved, each with the flag that changes it."""
    for one in {(p.split.folder, p.spec.protocol["name"]): p for p in planned}.values():
        split, protocol = one.split, one.spec.protocol
        listener.say(
            f"dataset    {one.spec.fit.dataset}: {split.num_users:,} users, {split.num_items:,} items  (-d)\n"
            f"protocol   {protocol['name']} v{protocol['version']}, top {protocol['depth']} of "
            f"{'the whole catalogue' if protocol['candidates'] == 'catalogue' else 'a list of candidates'}, "
            f"{split.statistics['requests'][one.spec.phase]:,} {one.spec.phase} items  (--protocol, --phase)"
        )
    for one in {p.label: p for p in planned if p.spec.fit.llm is not None}.values():
        for line in _engine_lines(one):
            listener.say(line)
    count = len({p.spec.fit.id for p in planned})
    fits = "1 fit" if count == 1 else f"{count} fits"
    listener.say(f"runs       {len(planned)} from {fits}  (-m, --seed, --seeds)")


def _engine_lines(one: Planned) -> list[str]:
    llm, ranker = one.spec.fit.llm or {}, dict(one.spec.ranker or {})
    train = llm["train"]
    naming = ", ".join(f"{key} {value}" for key, value in llm["identifiers"].items() if key in _NAMING)
    counts = one.split.statistics
    num_targets = counts.get("sampled_targets", counts["training_targets"])
    inside = ", ".join(f"{key}={value}" for key, value in ranker.items() if key != "name")
    weights = f"LoRA rank {train['lora_rank']}" if train["lora_rank"] else "all weights"
    return [
        f"method     {one.label}  (-m)",
        f"  backbone   {llm['backbone']}  (-b)",
        f"  paradigm   {llm['paradigm']}: {naming}  (-p, --set identifiers.KEY=N)",
        *([] if one.spec.fit.parent is None else [f"  parent     {one.spec.fit.parent}  (--parent)"]),
        f"  ranker     {ranker['name']}: {inside}  (--ranker, --set ranker.budget=N)",
        f"  training   {_amount(train, num_targets)}, batch {train['batch']}, lr {train['lr']:g}, "
        f"{weights}, {train['precision']}  (--set train.epochs=N)",
    ]


def _amount(train: Mapping[str, Any], num_targets: int) -> str:
    if train["budget_epochs"]:
        return f"as many tokens as sft reads in {train['budget_epochs']:g} epochs, the parent's included"
    rows = f"{train['max_rows']:,} rows" if train["max_rows"] else f"{num_targets:,} targets"
    return f"{train['epochs']:g} epochs of {rows}"


def _print_plan(planned: Sequence[Planned], place: Root, *, as_json: bool) -> None:
    from recbench.cli._output import print_json, print_table
    from recbench.results import bundle

    states = {one.spec.id: bundle.status(place.runs / one.spec.id) or "to do" for one in planned}
    if as_json:
        print_json([{**p.spec.to_json(), "label": p.label, "state": states[p.spec.id]} for p in planned])
        return
    rows = [
        (p.spec.id, fit.id, fit.parent or "-", p.label, fit.dataset, fit.seed, states[p.spec.id])
        for p in planned
        for fit in (p.spec.fit,)
    ]
    print_table(("run", "fit", "parent", "method", "dataset", "seed", "state"), rows)


def print_results(bundles: Sequence[Bundle], *, as_json: bool) -> None:
    from recbench.cli._output import print_json, print_table
    from recbench.cli._report import headline, next_command, run_record

    if as_json:
        print_json([run_record(one) for one in bundles])
        return
    finished = [one for one in bundles if one.status == "complete"]
    for one in finished:
        if one.manifest.get("did_not_train"):
            typer.echo(f"warning: {one.label} did not train: its policy is where its parent was", err=True)
    if finished:
        columns, rows = headline(finished)
        print_table(columns, rows, title="metrics with 95 % intervals over users")
    for one in bundles:
        if one.status == "failed":
            reason = one.reason or {}
            typer.echo(f"failed: {one.label} on {one.spec.fit.dataset} ({reason.get('class')}), {one.path}")
            what = reason.get("what", reason.get("message"))
            for name, text in (("what", what), ("why", reason.get("why")), ("try", reason.get("fix"))):
                if text:
                    typer.echo(f"  {name}: {text}")
    if finished:
        typer.echo(f"folder: {finished[0].path.parent}")
        typer.echo(f"next: {next_command(finished)}")


@contextmanager
def terminated_as_interrupt() -> Iterator[None]:
    """SIGTERM stops a run as Ctrl-C does, so that its worker ends with it."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    earlier = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier)
