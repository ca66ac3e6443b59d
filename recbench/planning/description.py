"""What the harness knows of a method without importing it where results are computed.

recbench's own methods are asked in this process, those of any other package in a child that lives as long as
the command.
"""

from __future__ import annotations

import json
import subprocess
import sys
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

from recbench.method import Traits
from recbench.planning import plugin_host, registry
from recbench.results.llm_record import llm_record
from recbench.settings import LLMSettings

OWN = ("recbench", "recbench_methods")
"""The distribution and the package of recbench's own methods."""
END_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What a method says when its parameters are known."""

    params: Mapping[str, Any]
    """All of them, defaults included, as JSON values."""
    needs_parent: bool
    stages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """A method's traits and parameters. What it computes, its class is asked for."""

    name: str
    distribution: str
    place: str
    """`module:Class`."""
    about: str
    """The docstring of the class."""
    traits: Traits
    parameters: Mapping[str, Any]
    """Defaults by name; `required` where there is none."""
    required: Sequence[str]
    ranks_itself: bool
    """Whether it is an LLM method with a `rank` of its own, instead of the engine's."""

    def build(self, values: Mapping[str, Any]) -> Built:
        """What a method built from `values` says.

        UsageError for an unknown parameter, a bad value, and a required parameter without a value.
        """
        return Built(**_ask(self.name, "build", values=dict(values)))

    def identity(self, llm: LLMSettings) -> dict[str, Any]:
        """What the class of an LLM method says that decides a fit beside its settings."""
        found: dict[str, Any] = _ask(self.name, "identity", llm=llm_record(llm))
        return found

    def fetch(self, llm: LLMSettings) -> None:
        """Download the files that `identity` reads."""
        _ask(self.name, "fetch", llm=llm_record(llm))


def describe(name: str) -> Description:
    """UsageError names the nearest name there is, UnusableMethodError says why the class cannot be used."""
    return _describe(name, tuple(sys.path))


@lru_cache(maxsize=128)
def _describe(name: str, _path: tuple[str, ...]) -> Description:
    record = _ask(name, "describe")
    traits = {**record["traits"], "requires": tuple(record["traits"]["requires"])}
    return Description(**{**record, "traits": Traits(**traits)})


def of_distribution(distribution: str) -> list[Description]:
    """The usable methods that a distribution brings, by name."""
    found = []
    for name, point in registry.available().items():
        if registry.owner(point) == distribution:
            try:
                found.append(describe(name))
            except registry.UnusableMethodError:  # whoever names it is told
                continue
    return found


def check_requirements(plugin: Description) -> None:
    """UnusableMethodError, with the pip line, where a module that the method requires is not installed.

    Looks for the modules and imports none. Apart from `load`, so that boards of finished runs are built
    without the packages that trained them.
    """
    absent = [module for module in plugin.traits.requires if find_spec(module) is None]
    if absent:
        extra = plugin.traits.extra
        wanted = f'"{plugin.distribution}[{extra}]"' if extra else " ".join(absent)
        raise registry.UnusableMethodError(
            f"method '{plugin.name}' of {plugin.distribution} cannot be used",
            why=f"not installed: {', '.join(absent)}",
            fix=f"pip install {wanted}",
        )


def is_third_party(name: str) -> bool:
    """Whether a method comes with another package than recbench. UsageError where there is no such method."""
    point = registry.point_of(name)
    return (registry.owner(point), point.value.partition(".")[0]) != OWN


def _ask(name: str, ask: str, **more: Any) -> Any:
    question = {"ask": ask, "name": name, **more}
    if not is_third_party(name):
        return plugin_host.answer(question)
    owner = registry.owner(registry.point_of(name))
    return _host(owner, tuple(sys.path)).ask(question, f"method '{name}' of {owner}")


@lru_cache(maxsize=4)
def _host(_owner: str, path: tuple[str, ...]) -> Host:
    """One for each package, so that none reaches what another says."""
    return Host(path)


class Host:
    """The child process of a package; a new one is started where a plugin has ended it."""

    def __init__(self, path: Sequence[str]) -> None:
        self._path = list(path)
        self._child = self._start()

    def ask(self, question: Mapping[str, Any], who: str) -> Any:
        """The answer, or the error that it was. UnusableMethodError where the child ends without either."""
        line = self._exchange(json.dumps(question))
        if not line:
            code = self._child.wait()
            self._child = self._start()
            raise registry.UnusableMethodError(
                f"{who} cannot be used",
                why=f"its code ended the process that reads it (exit code {code})",
                fix="leave out what ends the process when the class is imported or built",
            )
        found = json.loads(line)
        if "error" in found:
            raise plugin_host.error_of(found["error"])
        return found["answer"]

    def _exchange(self, line: str) -> str:
        """Empty where the child is gone."""
        questions, answers = self._child.stdin, self._child.stdout
        if questions is None or answers is None:
            return ""
        try:
            questions.write(line + "\n")
            questions.flush()
        except BrokenPipeError:
            return ""
        return answers.readline()

    def _start(self) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", plugin_host.__name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C goes to the command
        )
        weakref.finalize(self, _end, child)
        if child.stdin is not None:
            child.stdin.write(json.dumps(self._path) + "\n")
        return child


def _end(child: subprocess.Popen[str]) -> None:
    for stream in (child.stdin, child.stdout):
        if stream is not None:
            try:
                stream.close()
            except BrokenPipeError:
                continue
    try:
        child.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
