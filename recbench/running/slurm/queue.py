"""Questions to Slurm: partitions, states of jobs, and whether it answers at all."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from recbench.base.environment import install
from recbench.base.root import Root
from recbench.errors import MissingError
from recbench.planning.resources import minutes_of
from recbench.running import jobs
from recbench.running.jobs import Job, JobStatus

TOOLS = ("sbatch", "srun", "sinfo", "squeue", "scontrol")


def statuses(records: Sequence[Job], root: Root) -> list[JobStatus]:
    """How far each job is, by files and by Slurm."""
    numbers = [job.slurm["id"] for job in records if "id" in job.slurm]
    states = read_states(numbers)
    return [jobs.status_of(job, root, states) for job in records]


def cancel(number: str) -> None:
    """Ask Slurm to end a job. One that has ended already is no error."""
    subprocess.run(["scancel", number], check=False)


def read_states(numbers: Iterable[str]) -> dict[str, str] | None:
    """Slurm's state of each job, with the exit code where it failed: `RUNNING`, `FAILED 0:9`. Jobs that Slurm
    does not know are left out. None where Slurm does not answer.

    The queue has precedence, as accounting lags behind when a job is queued again; then comes sacct, and
    scontrol where there is no accounting.
    """
    wanted = set(numbers)
    if not wanted:
        return {}
    queue = _output(["squeue", "-h", "-r", "-o", "%i|%T"])
    if queue is None:
        return None
    states = dict(line.split("|") for line in queue.splitlines())
    ended = sorted(wanted - states.keys())
    if not ended:
        return {number: states[number] for number in wanted}
    asked = ["sacct", "-n", "-X", "-P", "-o", "JobID,State,ExitCode", "-j", ",".join(ended)]
    for line in (_output(asked) or "").splitlines():
        number, state, code = line.split("|")
        states[number] = _state(state, code)
    for number in ended:
        if number not in states:
            text = _output(["scontrol", "show", "job", "-o", number]) or ""
            match = re.search(r"JobState=(\S+).*?ExitCode=(\S+)", text)
            if match is not None:
                states[number] = _state(*match.groups())
    return {number: states[number] for number in wanted if number in states}


def _state(state: str, code: str) -> str:
    name = state.split()[0] if state else ""  # "CANCELLED by 1000"
    return f"{name} {code}" if name in ("FAILED", "CANCELLED") and code not in ("0:0", "") else name


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    name: str
    gpus: int
    """Of the node with the most."""
    minutes: int | None
    default: bool


def check_tools() -> None:
    """MissingError where this machine cannot submit jobs."""
    for tool in TOOLS:
        if shutil.which(tool) is None:
            raise MissingError(
                f"'{tool}' is not here",
                why="--on slurm needs a machine that can submit to a Slurm cluster",
                fix="run this on the cluster's login node, or leave --on slurm out",
            )
    if importlib.util.find_spec("submitit") is None:
        raise MissingError("submitit is not installed", fix=install("slurm"))


def read_partitions() -> dict[str, Partition]:
    """The partitions that sinfo shows. MissingError where the controller does not answer."""
    text = _output(["sinfo", "-h", "-o", "%P|%G|%l"])
    if text is None:
        raise MissingError("Slurm does not answer", why="sinfo failed", fix="recbench doctor --on slurm")
    partitions: dict[str, Partition] = {}
    for line in text.splitlines():
        name, gres, limit = line.split("|")
        partition = Partition(
            name=name.rstrip("*"),
            gpus=_gpus(gres),
            minutes=None if limit in ("infinite", "n/a") else minutes_of(limit),
            default=name.endswith("*"),
        )
        known = partitions.get(partition.name)
        partitions[partition.name] = partition if known is None or known.gpus < partition.gpus else known
    return partitions


def _gpus(gres: str) -> int:
    """`gpu:a100:4(S:0-1),shard:8` has 4."""
    return sum(int(count) for count in re.findall(r"(?:^|,)gpu(?::[\w.-]+)?:(\d+)", gres))


def _output(command: list[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
