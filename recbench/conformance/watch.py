"""What a method changes in its process beside its own state: environment, folder, and global random numbers.

Libraries and recbench may do that for themselves; what counts is whose code did it, as for the guard.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Collection, Mapping
from functools import wraps
from typing import Any

import numpy as np

from recbench.running.guard.audit import kinds, origin

ENVIRONMENT = ("os.putenv", "os.unsetenv", "os.chdir")
SEEDS = (("random", "seed"), ("numpy.random", "seed"), ("torch", "manual_seed"))
ENGINE = "recbench.llm.training.trainer"
"""It seeds its own process, as libraries of training do."""


class StateWatch:
    """Collects what the code in the packages `method` changes, from its creation on."""

    def __init__(self, method: Collection[str], *, torch: bool) -> None:
        self.found: list[str] = []
        self._kind = kinds(method)
        self._before: Mapping[str, Any] = {}
        if torch:
            __import__("torch")
        for module, name in SEEDS:
            if module in sys.modules:
                owner = sys.modules[module]
                setattr(owner, name, self._watched(getattr(owner, name), f"{module}.{name}"))
        sys.addaudithook(self._audit)

    def begin(self) -> None:
        """Remember the state of the global generators."""
        self._before = _states()

    def end(self) -> None:
        """Compare: a draw changes the state, whoever seeded it. Not where the engine trained."""
        if ENGINE not in sys.modules:
            after = _states()
            changed = [name for name, state in self._before.items() if after[name] != state]
            self.found += [f"draws from the global generator of {name}" for name in changed]

    def _audit(self, event: str, details: tuple[Any, ...]) -> None:
        if event in ENVIRONMENT and origin(sys._getframe(1), self._kind) == "method":
            what = details[0].decode() if isinstance(details[0], bytes) else str(details[0])
            self.found.append(f"{event.removeprefix('os.')} {what}")

    def _watched(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        @wraps(function)
        def watched(*arguments: Any, **named: Any) -> Any:
            if origin(sys._getframe(1), self._kind) == "method":
                self.found.append(f"calls {name}")
            return function(*arguments, **named)

        return watched


def _states() -> dict[str, Any]:
    """The states of the global generators of the libraries that are here; of torch on the CPU."""
    numpy: Any = np.random.get_state(legacy=True)
    found = {"random": random.getstate(), "numpy.random": (numpy[1].tobytes(), *numpy[2:])}
    if "torch" in sys.modules:
        found["torch"] = sys.modules["torch"].get_rng_state().numpy().tobytes()
    return found
