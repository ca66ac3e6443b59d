"""The root: can it be written, how much room it has, on what it lies; data folder and MLflow store."""

from __future__ import annotations

import os
import re
import shutil
import socket
import tempfile
import textwrap
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from recbench.base.environment import install
from recbench.base.files import without_links
from recbench.base.root import MIN_FREE_BYTES, Root
from recbench.base.words import masked, size_text
from recbench.dataset import card
from recbench.doctor.finding import Finding
from recbench.errors import MissingError, RecbenchError
from recbench.exchange.patience import Watched, database_closed
from recbench.exchange.sync import SQLITE

NETWORK = re.compile(
    r"(fuse\.)?(nfs4?|cifs|smb3|smbfs|afs|lustre|gpfs|beegfs|panfs|ceph|glusterfs|sshfs|juicefs|9p|pvfs2|wekafs)"
)
"""Types of file systems that several machines see."""
SECONDS = 3.0
PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306}


def existing(path: Path) -> Path:
    """The path, or the nearest one above it that exists."""
    return next(folder for folder in (path, *path.parents) if folder.exists())


def writable(root: Root) -> Finding:
    """A file is made and removed in every folder that runs would write to, and none of those is made."""
    fix = "recbench run --root FOLDER, or RECBENCH_ROOT=FOLDER"
    free = []
    for folder in dict.fromkeys(existing(path) for path in (root.path, root.runs, root.cache)):
        try:
            with tempfile.TemporaryFile(dir=folder):
                free.append(shutil.disk_usage(folder).free)
        except OSError as error:
            found = f"cannot write to {folder}: {error.strerror}"
            return Finding(name="root", status="missing", found=found, fix=fix)
    found = f"{root.path}, {size_text(min(free))} free"
    if min(free) < MIN_FREE_BYTES:
        fix = f"recbench gc, or {fix}"
        found = f"{found}; a run needs {size_text(MIN_FREE_BYTES)}"
        return Finding(name="root", status="missing", found=found, fix=fix)
    return Finding(name="root", status="ok", found=found)


def file_system_of(path: Path) -> str:
    """The type of the file system, as /proc/mounts names it; empty where it is not known."""
    import psutil

    real = without_links(existing(path))
    mounts = {Path(disk.mountpoint): disk.fstype for disk in psutil.disk_partitions(all=True)}
    return next((mounts[folder] for folder in (real, *real.parents) if folder in mounts), "")


def file_system(root: Root) -> Finding:
    kind = file_system_of(root.path)
    if not NETWORK.fullmatch(kind):
        return Finding(name="file system", status="ok", found=kind or "of a type that is not known")
    if (root.mlflow_uri or "").startswith(SQLITE):
        return Finding(
            name="file system",
            status="warning",
            found=f"{kind}, over the network, where SQLite loses or locks what several machines write",
            fix="MLFLOW_TRACKING_URI=http://SERVER, or RECBENCH_MLFLOW=sqlite:////tmp/mlflow.db",
        )
    return Finding(name="file system", status="ok", found=f"{kind}, over the network")


def data(root: Root) -> Finding:
    """The folder of datasets that cannot be shipped, and the sets whose files it has."""
    folder = root.data_dir
    if folder is None:
        found = "no folder is set; sets that ship or can be downloaded work"
        return Finding(name="data", status="ok", found=found)
    if not folder.is_dir():
        fix = "RECBENCH_DATA=FOLDER, or data = 'FOLDER' in recbench.toml"
        return Finding(name="data", status="missing", found=f"there is no folder {folder}", fix=fix)
    here, broken = [], []
    for name in sorted(card.available(root.path)):
        try:
            sources = card.find(name, root.path).sources
        except RecbenchError as error:
            broken.append(f"{name} ({error.what})")
            continue
        if any(
            all((folder / one.folder / file.name).is_file() for file in one.files.values()) for one in sources
        ):
            here.append(name)
    found = f"{folder} has {', '.join(here) or 'no files of a known dataset'}"
    if broken:
        found += f"; cards that cannot be read: {', '.join(broken)}"
    fix = (
        ""
        if here and not broken
        else "recbench list datasets; datasets/README.md says how its files are named"
    )
    return Finding(name="data", status="ok" if here and not broken else "warning", found=found, fix=fix)


def store(root: Root) -> Finding:
    """Whether results can be written to the MLflow store."""
    uri = root.mlflow_uri
    if uri is None:
        return Finding(name="mlflow", status="ok", found="turned off; the bundles hold all results")
    if find_spec("mlflow") is None:
        found = "MLflow is not installed; the bundles hold all results"
        return Finding(name="mlflow", status="warning", found=found, fix=install("train"))
    why = (
        _database_closed(Path(uri.removeprefix(SQLITE)))
        if uri.startswith(SQLITE)
        else _server_closed(uri, root.artifacts)
    )
    if why:
        fix = "fix that, or RECBENCH_MLFLOW=off; finished runs wait as bundles for recbench sync"
        return Finding(name="mlflow", status="missing", found=f"{masked(uri)}: {why}", fix=fix)
    return Finding(name="mlflow", status="ok", found=f"{masked(uri)} can be written")


def _database_closed(path: Path) -> str:
    """Why a SQLite file cannot be written; empty where it can, or can be made."""
    if not path.exists():
        folder = existing(path.parent)
        usable = folder.is_dir() and os.access(folder, os.W_OK)
        return "" if usable else f"cannot write to {folder}"
    return database_closed(path, seconds=SECONDS)


def _server_closed(uri: str, artifacts: Path) -> str:
    """Why a server takes no results; empty where it has taken a mark. One that cannot be reached is found out
    before MLflow is imported, which alone takes seconds."""
    parts = urlsplit(uri)
    if parts.hostname:
        port = parts.port or PORTS.get(parts.scheme.partition("+")[0], 80)
        try:
            socket.create_connection((parts.hostname, port), timeout=SECONDS).close()
        except OSError as error:
            return f"nobody answers at {parts.hostname}:{port} ({error})"
    from recbench.exchange.mlflow_store import load, touch

    root = None if uri.startswith("http") else artifacts
    limits = {"MLFLOW_HTTP_REQUEST_TIMEOUT": f"{SECONDS:.0f}", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    own = limits.keys() - os.environ.keys()
    os.environ.update({name: limits[name] for name in own})
    try:
        load()
        # a server that sends a byte now and then keeps within the limit of a request for ever
        touched = Watched(lambda _beat: touch(uri, artifacts_root=root))
        touched.result(what="it", say=lambda _text: None, quiet_seconds=2 * SECONDS)
    except MissingError as error:
        return textwrap.shorten(error.why or error.what, 120)
    finally:  # who asks the store next has patience again
        for name in own:
            os.environ.pop(name, None)
    return ""
