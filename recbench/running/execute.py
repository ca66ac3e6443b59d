"""Planned runs become bundles: an executor takes each run to its end, then all go to the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Protocol

from recbench.base.progress import Listener, Silent
from recbench.base.root import Root
from recbench.base.words import gain_lines
from recbench.exchange.sync import sync_pending
from recbench.planning import reuse
from recbench.planning.plan import Planned
from recbench.planning.resources import Resources
from recbench.results import bundle
from recbench.results.bundle import Bundle
from recbench.running import jobs
from recbench.running.local import LocalPool
from recbench.running.one_run import Driver


class Executor(Protocol):
    """Where runs are done. It gets them in an order in which parents come first."""

    name: ClassVar[str]

    def check(self, planned: Sequence[Planned], resources: Mapping[str, Resources], root: Root) -> None:
        """Raise what a user has to fix before any run starts. `resources` are by run id."""
        ...

    def run(self, planned: Sequence[Planned], resources: Mapping[str, Resources], driver: Driver) -> None:
        """Take each run to its bundle, complete or failed; return earlier only where the user asked for it.

        Raises KeyboardInterrupt when it was interrupted; the same call continues.
        """
        ...


def run_all(
    planned: Sequence[Planned],
    root: Root,
    *,
    executor: Executor | None = None,
    resources: Mapping[str, Resources] | None = None,
    force: bool = False,
    newer_than: datetime | None = None,
    offline: bool = False,
    listener: Listener | None = None,
) -> list[Bundle]:
    """The bundle of each planned run, in their order; a failed run is a bundle too.

    Finished runs are reused. With `force` every run and its fit are made again, as are those older than
    `newer_than`, and an old bundle stays until the new one replaces it; DigestError where neither is given
    and other code made a finished run. However this ends, finished runs that are not in the store yet go
    there. A run that its executor left unfinished is left out.
    """
    root.check_writable()
    listener = Silent() if listener is None else listener
    if executor is None:
        executor = LocalPool()
    resources = {run.spec.id: Resources() for run in planned} if resources is None else resources
    since = datetime.now(UTC) if force else newer_than
    if since is None:
        reuse.check_finished(planned, root, listener.say)
    still = [run for run in planned if since is not None or not _is_complete(root.runs / run.spec.id)]
    executor.check(still, resources, root)
    driver = Driver.of(
        root,
        listener,
        distributions=[name for run in planned for name in run.resolved.distributions],
        offline=offline,
        newer_than=since,
    )
    jobs.write(planned, resources, root, executor=executor.name, newer_than=driver.newer_than)
    bundles: list[Bundle] = []
    try:
        executor.run(planned, resources, driver)
    finally:
        ended = [run for run in planned if jobs.has_ended(run.spec.id, root)]
        bundles = [bundle.load(root.runs / run.spec.id) for run in ended]
        for run, one in zip(ended, bundles, strict=True):  # of those that no worker has just told
            for line in gain_lines(one.manifest.facts.identifiers, one.manifest.facts.more):
                driver.tell(run, line)
        sync_pending(bundles, root, listener.say)
    return bundles


def _is_complete(run: Path) -> bool:
    return bundle.status(run) == "complete"
