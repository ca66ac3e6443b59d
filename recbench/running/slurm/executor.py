"""Submission through submitit: runs with equal needs as one array, children after their parents.

A job is `recbench.running.slurm.job.SlurmJob` with the path of its record, and only that path travels. The
state of a job is read from its bundle, from the lock that it holds, and from sacct; no driver has to live
for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from recbench.base import locks, params
from recbench.base.clock import now
from recbench.base.root import Root
from recbench.errors import UsageError, unknown_name
from recbench.planning.plan import Planned
from recbench.planning.resources import Resources, minutes_of
from recbench.running import jobs
from recbench.running.one_run import Driver
from recbench.running.slurm.queue import check_tools, read_partitions, statuses
from recbench.running.slurm.settle import wait

DEFAULT_MINUTES = 480
SIGNAL_SECONDS = 120
"""How long before its time limit a job gets the signal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The settings of a cluster's jobs: a table `[profiles.NAME]` of `recbench.toml`."""

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    time: str | None = None
    """Time limit where neither the command nor the study sets one, e.g. `8h`."""
    cpus_per_gpu: int | None = None
    memory_gb: int | None = None
    max_requeues: int = 3
    """How often a job that reached its time limit is queued again."""
    setup: tuple[str, ...] = ()
    """Shell lines before the job, e.g. `module load cuda`."""
    sbatch: tuple[str, ...] = ()
    """Further options of sbatch, e.g. `--exclusive` or `--mail-type=END`."""

    @classmethod
    def named(cls, name: str | None, profiles: Mapping[str, Mapping[str, Any]]) -> Profile:
        """The profile of that name. Without a name: the only profile, else `default`, else an empty one."""
        if name is None:
            name = next(iter(profiles)) if len(profiles) == 1 else "default"
            if name not in profiles:
                return cls()
        if name not in profiles:
            raise unknown_name("profile", name, profiles, fix=f"[profiles.{name}] in recbench.toml")
        profile = params.build(cls, profiles[name], what=f"profile {name}")
        if profile.time is not None:
            minutes_of(profile.time)  # raises for what is no length of time
        return profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Slurm:
    name: ClassVar[str] = "slurm"

    profile: Profile = field(default_factory=Profile)
    detach: bool = False
    """Return as soon as all jobs are submitted."""
    max_parallel: int | None = None
    """How many jobs of an array run at once."""
    estimates: Mapping[str, float] = field(default_factory=dict)
    """Expected seconds of a run, by run id."""

    def check(self, planned: Sequence[Planned], resources: Mapping[str, Resources], root: Root) -> None:
        """Raise for a request that Slurm would refuse, or let fail hours later."""
        del root
        check_tools()
        partitions = read_partitions()
        if self.profile.partition is not None and self.profile.partition not in partitions:
            raise unknown_name("partition", self.profile.partition, partitions, fix="sinfo")
        default = next((partition for partition in partitions.values() if partition.default), None)
        partition = partitions.get(self.profile.partition or "", default)
        for run in planned:
            asked = resources[run.spec.id]
            minutes = self._minutes(asked)
            if partition is not None and asked.gpus > partition.gpus:
                raise UsageError(
                    f"{run.name} asks for {asked.gpus} GPUs, more than a node has",
                    why=f"partition '{partition.name}' has nodes with {partition.gpus}",
                    fix=f"--gpus {max(1, partition.gpus)} --nodes N",
                )
            if partition is not None and partition.minutes is not None and minutes > partition.minutes:
                raise UsageError(
                    f"{minutes} minutes are more than partition '{partition.name}' allows",
                    fix=f"--time {partition.minutes}m",
                )
            expected = self.estimates.get(run.spec.id, 0.0) / 60
            if minutes < expected:
                raise UsageError(
                    f"--time of {minutes} minutes is below the estimate of {expected:.0f} for {run.name}",
                    why="measured in finished runs of the same kind",
                    fix=f"--time {int(1.5 * expected) + 1}m",
                )

    def run(self, planned: Sequence[Planned], resources: Mapping[str, Resources], driver: Driver) -> None:
        todo = []
        for run in planned:
            job = jobs.read_if_there(driver.root, run.spec.id)
            if job is None or jobs.is_finished(job, driver.root):
                driver.listener.say(f"{run.spec.id}  {run.name}: reused")
            else:
                todo.append(run)
        # two drivers of one study would each submit all of it
        with locks.hold(driver.root.cache / "locks" / "submit", "submitting"):
            submitted = self._submit(todo, resources, driver)
        if self.detach:
            driver.listener.say("submitted; recbench status says how far they are")
            return
        try:
            wait(todo, driver)
        except KeyboardInterrupt:
            driver.listener.say(f"the {len(submitted)} jobs go on; recbench status, recbench cancel")
            raise

    def _submit(
        self, todo: Sequence[Planned], resources: Mapping[str, Resources], driver: Driver
    ) -> dict[str, str | None]:
        """Submit runs that are neither queued nor running. Returns Slurm's number of each run's job, None
        where the run goes on elsewhere."""
        root = driver.root
        records = {run.spec.id: jobs.read(jobs.path_of(root, run.spec.id)) for run in todo}
        known = statuses(list(records.values()), root)
        alive = [status.job for status in known if status.state in ("queued", "running", "unknown")]
        numbers = {job.run: job.slurm.get("id") for job in alive}
        for group in _groups([run for run in todo if run.spec.id not in numbers], resources):
            parent = None if group[0].parent is None else numbers.get(group[0].parent.spec.id)
            sent = self._send(group, resources[group[0].spec.id], parent, root)
            for run, number in zip(group, sent, strict=True):
                numbers[run.spec.id] = number
                where = {"id": number, "folder": str(_folder(root))}
                replace(records[run.spec.id], slurm=where, submitted=now()).write(root)
                driver.listener.say(f"{run.spec.id}  {run.name}: job {number}")
        return numbers

    def _send(self, group: Sequence[Planned], asked: Resources, parent: str | None, root: Root) -> list[str]:
        """Submit runs with equal resources and the same parent as one array; returns their numbers."""
        import submitit
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        from recbench.running.slurm.job import SlurmJob

        executor = submitit.AutoExecutor(
            folder=_folder(root), cluster="slurm", slurm_max_num_timeout=self.profile.max_requeues
        )
        executor.update_parameters(**self._parameters(asked, parent))
        try:
            with executor.batch():
                sent = [executor.submit(SlurmJob(str(jobs.path_of(root, run.spec.id)))) for run in group]
        except (FailedJobError, FailedSubmissionError) as error:
            raise UsageError(
                f"Slurm refuses {group[0].name}",
                why=str(error).strip().splitlines()[-1],
                fix="fix the profile in recbench.toml; what was submitted before goes on: recbench status",
            ) from None
        return [job.job_id for job in sent]

    def _parameters(self, asked: Resources, parent: str | None) -> dict[str, Any]:
        """The parameters of a submission, in submitit's names."""
        profile = self.profile
        further = dict(_option(text) for text in profile.sbatch)
        further["gpus-per-node"] = str(asked.gpus)
        if parent is not None:
            # after its end, failed or not: a child of a failed parent gets a bundle that says so
            further["dependency"] = f"afterany:{parent}"
        cpus = None if profile.cpus_per_gpu is None else profile.cpus_per_gpu * asked.gpus
        given = {
            "name": "recbench",
            "timeout_min": self._minutes(asked),
            "nodes": asked.nodes,
            "tasks_per_node": 1,
            "cpus_per_task": cpus,
            "mem_gb": profile.memory_gb,
            "slurm_partition": profile.partition,
            "slurm_account": profile.account,
            "slurm_qos": profile.qos,
            "slurm_constraint": profile.constraint,
            "slurm_setup": list(profile.setup) or None,
            "slurm_array_parallelism": self.max_parallel,
            "slurm_signal_delay_s": SIGNAL_SECONDS,
            "slurm_stderr_to_stdout": True,
            # the job itself runs on the first node alone, and starts the work on the others
            "slurm_srun_args": ["--nodes=1", "--ntasks=1"] if asked.nodes > 1 else None,
            "slurm_additional_parameters": further,
        }
        return {name: value for name, value in given.items() if value is not None}

    def _minutes(self, asked: Resources) -> int:
        if asked.minutes is not None:
            return asked.minutes
        return DEFAULT_MINUTES if self.profile.time is None else minutes_of(self.profile.time)


def _groups(planned: Sequence[Planned], resources: Mapping[str, Resources]) -> list[list[Planned]]:
    """Runs with equal resources and the same parent, parents before children."""
    groups: dict[tuple[Resources, str | None], list[Planned]] = {}
    depth: dict[str, int] = {}
    for run in planned:
        parent = None if run.parent is None else run.parent.spec.id
        depth[run.spec.id] = 0 if parent is None else depth.get(parent, -1) + 1
        groups.setdefault((resources[run.spec.id], parent), []).append(run)
    return sorted(groups.values(), key=lambda group: max(depth[run.spec.id] for run in group))


def _option(text: str) -> tuple[str, Any]:
    """`--mail-type=END` as submitit takes it."""
    name, equals, value = text.removeprefix("--").partition("=")
    return name, value if equals else True


def _folder(root: Root) -> Path:
    return jobs.folder(root) / "slurm"
