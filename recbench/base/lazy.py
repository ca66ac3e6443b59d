"""Packages that export names without importing the modules that hold them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def exporter(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a package (PEP 562) that imports a name's module when the name is first read.

    homes: the module of each exported name within the package; `module:attribute` where the two names differ.
    """

    def read(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module '{package}' exports no '{name}'")
        module, _, attribute = homes[name].partition(":")
        return getattr(import_module(f"{package}.{module}"), attribute or name)

    return read
