"""The energy that the GPUs of a process draw, from NVML: a counter where they have one, else sampled power.

It is that of the whole device, whoever uses it. Where it is not known there is none: no library, no driver, a
part of a device (MIG), devices of several nodes, or several models of GPU, which NVML and CUDA number apart.
"""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

SAMPLE_SECONDS = 0.5
MJ_PER_KWH = 3.6e9
"""Millijoules: NVML's unit."""
Energy = Callable[[], int | None]
"""Millijoules since some moment; None where they are not known."""


def unknown() -> int | None:
    return None


def loaded() -> Any:
    """NVML, initialised; None where the package `nvidia-ml-py` or the driver is missing."""
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return None
    return nvml


def energy_of(device: str, environ: Mapping[str, str], load: Callable[[], Any] = loaded) -> Energy:
    """What the devices draw that a process with this device and environment sees."""
    processes = environ.get("WORLD_SIZE", "1")
    on_one_node = environ.get("LOCAL_WORLD_SIZE", processes) == processes
    nvml = load() if device.startswith("cuda") and on_one_node else None
    if nvml is None:
        return unknown
    try:
        handles = _handles(nvml, environ)
        if not handles:
            return unknown
    except nvml.NVMLError:
        return unknown
    counter = EnergyCounter(nvml, handles)
    if counter() is not None:
        return counter
    sampled = SampledPower(nvml, handles)
    return unknown if sampled() is None else sampled.started()


def _handles(nvml: Any, environ: Mapping[str, str]) -> list[Any]:
    """Of the visible devices; none where it is not certain which they are."""
    count = nvml.nvmlDeviceGetCount()
    shown = environ.get("CUDA_VISIBLE_DEVICES")
    if shown is None:
        shown = "0" if count == 1 else ""
    entries = [entry for entry in map(str.strip, shown.split(",")) if entry]
    names = {nvml.nvmlDeviceGetName(nvml.nvmlDeviceGetHandleByIndex(number)) for number in range(count)}
    ordered = environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID" or len(names) == 1
    if any(not entry.startswith("GPU-") and not (entry.isdigit() and ordered) for entry in entries):
        return []
    return [
        nvml.nvmlDeviceGetHandleByIndex(int(entry))
        if entry.isdigit()
        else nvml.nvmlDeviceGetHandleByUUID(entry)
        for entry in entries
    ]


class EnergyCounter:
    """The devices' own counters."""

    def __init__(self, nvml: Any, handles: Sequence[Any]) -> None:
        self._nvml, self._handles = nvml, handles

    def __call__(self) -> int | None:
        try:
            return sum(int(self._nvml.nvmlDeviceGetTotalEnergyConsumption(one)) for one in self._handles)
        except self._nvml.NVMLError:
            return None


class SampledPower:
    """The integral of the devices' power over its samples, by the trapezoid rule."""

    def __init__(
        self, nvml: Any, handles: Sequence[Any], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._nvml, self._handles, self._clock = nvml, handles, clock
        self._lock = threading.Lock()
        self._last: tuple[float, float] | None = None
        self._sum: float | None = 0.0

    def __call__(self) -> int | None:
        """Take a sample: NVML gives milliwatts, and a milliwatt second is a millijoule."""
        with self._lock:
            try:
                power = float(sum(self._nvml.nvmlDeviceGetPowerUsage(one) for one in self._handles))
            except self._nvml.NVMLError:
                self._sum = None  # a gap is no zero
            if self._sum is None:
                return None
            now = self._clock()
            if self._last is not None:
                then, before = self._last
                self._sum += (now - then) * (before + power) / 2
            self._last = now, power
            return round(self._sum)

    def started(self) -> SampledPower:
        """With a thread that samples as long as the process lives."""
        threading.Thread(target=self._go_on, daemon=True).start()
        return self

    def _go_on(self) -> None:
        while self() is not None:
            time.sleep(SAMPLE_SECONDS)
