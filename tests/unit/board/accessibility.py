"""What axe-core, a checker of accessibility, finds on the page that a browser shows."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

AXE = "RECBENCH_AXE"
"""Where axe.min.js of axe-core lies: `npm pack axe-core` brings it. It is no part of recbench."""
PACKAGES = ("axe_selenium_python", "axe_core_python", "axe_playwright_python")
"""Packages that carry it."""


def findings(driver: Any) -> list[tuple[str, list[str]]]:
    """Each rule that the page breaks, with some of the places. Skips the test where there is no axe-core."""
    script = _axe()
    if script is None:
        pytest.skip(f"needs axe-core: npm pack axe-core, unpack it, {AXE}=package/axe.min.js")
    driver.execute_script(script.read_text(encoding="utf-8"))
    found = driver.execute_async_script(
        "const done = arguments[arguments.length - 1]; axe.run().then(done, error => done(String(error)))"
    )
    assert isinstance(found, dict), found
    assert len(found["passes"]) > 10
    return [(rule["id"], [node["html"] for node in rule["nodes"]][:3]) for rule in found["violations"]]


def _axe() -> Path | None:
    if named := os.environ.get(AXE):
        return Path(named)
    for package in PACKAGES:
        spec = find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            if found := sorted(Path(folder).rglob("axe.min.js")):
                return found[0]
    return None
