"""What a compute node sees: `python -m recbench.doctor.node FOLDER`, the test job of `recbench doctor`.

It reads the word that the submitting machine left in FOLDER, and leaves there what it found.
"""

from __future__ import annotations

import json
import os
import platform
import socket
import sys
from pathlib import Path
from typing import Any

from recbench.base import environment

WORD, SEEN = "word", "seen.json"


def see(folder: Path) -> dict[str, Any]:
    return {
        "host": os.environ.get("SLURMD_NODENAME") or socket.gethostname(),
        "word": (folder / WORD).read_text(),
        "visible": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "gpus": environment.gpus(),
        **identity(),
    }


def identity() -> dict[str, Any]:
    """What must be the same on every machine."""
    import recbench

    return {
        "python": platform.python_version(),
        "recbench": environment.own_version(),
        "code": str(Path(recbench.__file__).parent),
        "cache": _cached(),
    }


def _cached() -> list[str]:
    """The models in the offline cache of Hugging Face."""
    home = os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface"
    hub = Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub")
    names = sorted(path.name for path in hub.glob("models--*")) if hub.is_dir() else []
    return [name.removeprefix("models--").replace("--", "/") for name in names]


if __name__ == "__main__":
    place = Path(sys.argv[1])
    partial = place / f".{SEEN}.partial"
    partial.write_text(json.dumps(see(place)))
    partial.replace(place / SEEN)
