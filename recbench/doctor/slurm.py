"""A Slurm cluster: its commands, controller, partitions and accounting, and a test job on a node."""

from __future__ import annotations

import json
import re
import secrets
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from recbench.base.environment import install
from recbench.base.files import expanded
from recbench.base.root import Root
from recbench.base.weights import gguf
from recbench.base.weights.hub import download_command
from recbench.doctor import node
from recbench.doctor.finding import Answer, Finding, ask
from recbench.doctor.place import NETWORK, file_system_of
from recbench.running.slurm.executor import Profile
from recbench.running.slurm.queue import Partition, read_partitions
from recbench.settings import BACKBONES, backbone_class

COMMANDS = ("sbatch", "srun", "squeue", "scancel", "sinfo", "scontrol", "sacct")
DEADLINE_SECONDS = 120.0
LOOK_SECONDS = 1.0
LATE_SECONDS = 20.0  # until a file that a node wrote is seen over a network file system
# accounting may still call a job running that the queue has forgotten; these are final
BROKEN = re.compile("FAIL|CANCELLED|TIMEOUT|OUT_OF_MEMORY|DEADLINE")


def cluster(root: Root, *, backbone: str | None, profile: str | None) -> Iterator[Finding]:
    """The test job only where the controller answers; it leaves nothing behind in the root. UsageError for a
    profile that does not exist."""
    chosen = Profile.named(profile, root.profiles)
    if find_spec("submitit") is None:
        yield Finding(name="submitit", status="missing", found="not installed", fix=install("slurm"))
    absent = [name for name in COMMANDS if shutil.which(name) is None]
    if absent:
        yield Finding(
            name="slurm",
            status="missing",
            found=f"no {', '.join(absent)} in PATH",
            fix="run this on a login node of the cluster, or leave --on slurm out",
        )
        return
    ping = judge_ping(ask(["scontrol", "ping"]))
    yield ping
    if ping.status != "ok":
        return
    found = read_partitions()
    yield judge_partitions(found)
    yield judge_accounting(ask(["sacct", "--noheader", "--allocations", "--format=JobID"]))
    yield judge_preemption(configuration(ask(["scontrol", "show", "config"])))
    yield shared(root)
    options = options_of(chosen, found)
    yield from job_on_a_node(root, options=options, setup=chosen.setup, backbone=backbone)


def judge_ping(answer: Answer) -> Finding:
    good = answer.good and " is UP" in answer.text
    return Finding(
        name="slurm",
        status="ok" if good else "missing",
        found=answer.text.replace("\n", "; "),
        fix="" if good else "ask whoever runs the cluster; SLURM_CONF names another configuration",
    )


def judge_partitions(found: Mapping[str, Partition]) -> Finding:
    texts = [
        f"{partition.name}: {partition.gpus} GPUs a node"
        + ("" if partition.minutes is None else f", at most {partition.minutes / 60:g} h")
        for partition in found.values()
        if partition.gpus
    ]
    if not found:
        return Finding(name="partitions", status="missing", found="sinfo shows none", fix="sinfo")
    if not texts:
        fix = "GresTypes=gpu and gres.conf, where the nodes have GPUs"
        return Finding(
            name="partitions", status="warning", found=f"none with GPUs: {', '.join(found)}", fix=fix
        )
    return Finding(name="partitions", status="ok", found="; ".join(texts))


def options_of(profile: Profile, found: Mapping[str, Partition]) -> list[str]:
    """Of sbatch, for the test job: what the profile says, and a GPU where its partition has any; without a
    profile's, in the default partition if that has GPUs, else in one that does."""
    said = {name: getattr(profile, name) for name in ("partition", "account", "qos", "constraint")}
    options = [f"--{name}={partition}" for name, partition in said.items() if partition is not None]
    options += list(profile.sbatch)
    with_gpus = sorted(
        (partition for partition in found.values() if partition.gpus),
        key=lambda partition: not partition.default,
    )
    if profile.partition is not None:
        with_gpus = [one for one in with_gpus if one.name == profile.partition]
    if with_gpus:
        options.append("--gpus-per-node=1")
        if profile.partition is None and not with_gpus[0].default:
            options.append(f"--partition={with_gpus[0].name}")
    return options


def judge_accounting(answer: Answer) -> Finding:
    if answer.good:
        return Finding(name="accounting", status="ok", found="sacct answers")
    return Finding(
        name="accounting",
        status="missing",
        found=answer.text,
        fix="slurmdbd has to run: without it nobody knows how a job ended that left no word",
    )


def configuration(answer: Answer) -> dict[str, str]:
    """`Key = value` of each line."""
    pairs = (line.partition("=") for line in answer.text.splitlines() if "=" in line)
    return {key.strip(): value.strip() for key, _, value in pairs}


def judge_preemption(config: Mapping[str, str]) -> Finding:
    kind = config.get("PreemptType", "preempt/none")
    if kind.endswith("none"):
        return Finding(name="preemption", status="ok", found="no job is preempted")
    if "preempt_send_user_signal" in config.get("SlurmctldParameters", ""):
        found = f"{kind}, and a job is told before by its own signal"
        return Finding(name="preemption", status="ok", found=found)
    return Finding(
        name="preemption",
        status="warning",
        found=f"{kind}, and a job is told by SIGTERM alone, shortly before it is killed",
        fix="preempt_send_user_signal in SlurmctldParameters; else runs go on from a periodic checkpoint",
    )


def shared(root: Root) -> Finding:
    kind = file_system_of(root.path)
    if NETWORK.fullmatch(kind):
        return Finding(name="shared root", status="ok", found=f"{root.path} is on {kind}")
    return Finding(
        name="shared root",
        status="warning",
        found=f"{root.path} is on {kind or 'an unknown file system'}, which other machines may not see",
        fix="--root FOLDER on a file system that the nodes share; the test job says whether they see it",
    )


def job_on_a_node(
    root: Root,
    *,
    options: Sequence[str],
    setup: Sequence[str] = (),
    backbone: str | None,
    deadline: float = DEADLINE_SECONDS,
) -> Iterator[Finding]:
    """A job of one minute at most that looks at what a run needs there; cancelled at the deadline."""
    root.cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root.cache, prefix="doctor-", ignore_cleanup_errors=True) as name:
        folder, word = Path(name), secrets.token_hex(8)
        folder.chmod(0o755)
        (folder / node.WORD).write_text(word)
        script = folder / "job.sh"
        command = shlex.join([sys.executable, "-P", "-m", "recbench.doctor.node", str(folder)])
        script.write_text("\n".join(["#!/bin/sh", *setup, f"exec {command}", ""]))
        given = ["--job-name=recbench-doctor", "--nodes=1", "--ntasks=1", "--time=1"]
        given += [f"--output={folder / 'job.out'}", f"--chdir={folder}"]
        sent = ask(["sbatch", "--parsable", *given, *options, str(script)])
        if not sent.good:
            yield Finding(
                name="test job",
                status="missing",
                found=f"sbatch refuses it: {sent.text}",
                fix="partition, account and what else it asks for, in [profiles.NAME] of recbench.toml",
            )
            return
        job = sent.text.partition(";")[0]
        started = time.monotonic()
        try:
            waited = _wait(job, folder, started + deadline)
        finally:
            ask(["scancel", job])  # also when this is interrupted
        if waited is not None:
            yield waited
            return
        seconds = time.monotonic() - started
        seen = json.loads((folder / node.SEEN).read_text())
        yield Finding(
            name="test job", status="ok", found=f"job {job} answered from {seen['host']} in {seconds:.0f} s"
        )
        gpus = any(option.startswith("--gpus") for option in options)
        yield from judge_node(seen, node.identity(), word=word, gpus=gpus, backbone=backbone)


def _wait(job: str, folder: Path, until: float) -> Finding | None:
    """None once the node has left its word; else why it has not."""
    queued, late = "", None
    while time.monotonic() < until:
        if (folder / node.SEEN).exists():
            return None
        queue = ask(["squeue", "--noheader", "--jobs", job, "--format=%T (%r)"])
        if queue.good and queue.text:
            queued = queue.text
        else:
            late = late or time.monotonic() + LATE_SECONDS
            ending = ask(["sacct", "--noheader", "--allocations", "--jobs", job, "--format=State,ExitCode"])
            if BROKEN.search(ending.text) or time.monotonic() > late:
                return _without_a_word(job, folder, " ".join(ending.text.split()))
        time.sleep(LOOK_SECONDS)
    return Finding(
        name="test job",
        status="warning",
        found=f"job {job} has not run within the time: {queued or 'nothing is known of it'}",
        fix="the same command when the cluster is less busy, or another partition by --profile NAME",
    )


def _without_a_word(job: str, folder: Path, ending: str) -> Finding:
    output = folder / "job.out"
    said = output.read_text(errors="replace").strip().splitlines() if output.exists() else []
    why = said[-1] if said else f"it left no output in {folder.parent}, which the node may not see"
    return Finding(
        name="test job",
        status="missing",
        found=f"job {job} ended ({ending}): {why}",
        fix="the nodes must see the root and this Python at the same paths: --root FOLDER on a shared disk",
    )


def judge_node(
    seen: Mapping[str, Any],
    here: Mapping[str, Any],
    *,
    word: str,
    gpus: bool,
    backbone: str | None,
) -> Iterator[Finding]:
    """What the node saw, against what this machine does; `gpus`: the job asked for one."""
    host = seen["host"]
    other = [
        f"{name} {seen[name]}, here {here[name]}"
        for name in ("python", "recbench", "code")
        if seen[name] != here[name]
    ]
    yield Finding(
        name="node software",
        status="missing" if other else "ok",
        found="; ".join(other)
        or f"{host} has the same Python {seen['python']} and recbench {seen['recbench']}",
        fix="a virtual environment on a disk that the nodes share" if other else "",
    )
    whole = seen["word"] == word
    yield Finding(
        name="node root",
        status="ok" if whole else "missing",
        found=f"{host} reads and writes the root" if whole else f"{host} reads an old state of the root",
        fix="" if whole else "a file system whose files all nodes see alike",
    )
    if gpus:
        shown = [one for one in (seen["visible"] or "").split(",") if one]
        named = f" ({', '.join(seen['gpus'])})" if seen["gpus"] else ""
        yield Finding(
            name="node gpus",
            status="ok" if shown else "warning",
            found=f"CUDA_VISIBLE_DEVICES={seen['visible']}{named}"
            if shown
            else f"{host} shows the job no GPU",
            fix="" if shown else "GresTypes=gpu and gres.conf; or a partition with GPUs",
        )
    if backbone is not None:
        yield from _node_backbone(seen, backbone)


def _node_backbone(seen: Mapping[str, Any], backbone: str) -> Iterator[Finding]:
    repository = BACKBONES.get(backbone, backbone)
    if backbone_class(backbone) == "scratch" or gguf.names_file(backbone) or expanded(backbone).is_dir():
        return
    there = repository in seen["cache"]
    fetch = f"HF_HOME on a disk that the nodes share, and there: {download_command(repository)}"
    yield Finding(
        name="node cache",
        status="ok" if there else "missing",
        found=f"{repository} is {'' if there else 'not '}in the offline cache that {seen['host']} sees",
        fix="" if there else fetch,
    )
