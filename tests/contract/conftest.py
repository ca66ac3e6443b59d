"""A third party that does not play fair."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import write_metadata

if TYPE_CHECKING:
    from tests.conftest import World

HOSTILE = Path(__file__).parent.parent / "hostile_methods"


@pytest.fixture
def hostile(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """The world, with the distribution of hostile methods on the path."""
    path = [str(write_metadata(tmp_path / "hostile", HOSTILE)), str(HOSTILE)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*path, os.environ["PYTHONPATH"]]))
    for folder in path:
        monkeypatch.syspath_prepend(folder)
    return world
