"""What a machine, a root, a backbone and a cluster lack for runs, and what fixes it.

A check is a function of what it looks at and gives one finding; it changes nothing, and none waits for longer
than a few seconds but the test job on a cluster, which has a deadline of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

from recbench.base.root import Root
from recbench.doctor import backbone as backbones
from recbench.doctor import machine, place, plugins, slurm, software
from recbench.doctor.finding import Finding


def diagnose(
    root: Root,
    *,
    backbone: str | None = None,
    offline: bool = False,
    cluster: bool = False,
    profile: str | None = None,
) -> Iterator[Finding]:
    """One finding after another, as each is made. UsageError for a backbone that cannot be one.

    `cluster` adds what Slurm says, and a test job that is submitted as `profile` has it.
    """
    offline = offline or root.offline
    yield software.python()
    yield from software.names()
    yield from software.packages()
    yield from software.constraints()
    yield from software.recbole()
    yield plugins.plugins(root)
    yield machine.gpus(root.setting("device"))
    yield from machine.torch()
    yield machine.processor(root.threads)
    yield place.writable(root)
    yield place.file_system(root)
    yield place.data(root)
    yield place.store(root)
    if backbone is not None:
        yield backbones.backbone(backbone, offline=offline, shared_with_nodes=cluster)
    if cluster:
        yield from slurm.cluster(root, backbone=backbone, profile=profile)
