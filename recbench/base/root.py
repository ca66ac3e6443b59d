"""The folder under which everything is kept, and the settings that hold for all commands in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recbench.base.files import parse_toml
from recbench.errors import MissingError, UsageError, unknown_name

CONFIG = "recbench.toml"
PROFILES = "profiles"

DEFAULTS: Mapping[str, str | None] = {
    "backbone": "tiny",
    "paradigm": "semantic-id",
    "protocol": "ilrec",
    "ranker": None,  # None: the paradigm's own
    "data": None,  # folder of datasets that cannot be shipped
    "device": None,  # None: a GPU where there is one
    "threads": None,  # None: all cores that this process may use
    "offline": "false",
    "mlflow": None,  # address of the store; None: a file under the root; "off": no store
}

MIN_FREE_BYTES = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    path: Path
    environ: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, str] = field(default_factory=dict)
    """The settings of `recbench.toml`, as text."""
    profiles: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Its tables `[profiles.NAME]`: how a cluster wants its jobs."""
    cwd: Path = field(default_factory=Path.cwd)
    """Where the user stands: what paths in `environ` are relative to."""

    @property
    def runs(self) -> Path:
        return self.path / "runs"

    @property
    def cache(self) -> Path:
        return self.path / "cache"

    @property
    def artifacts(self) -> Path:
        """Where a store without a server of its own keeps the files of runs."""
        return self.path / "mlartifacts"

    @property
    def data_dir(self) -> Path | None:
        """Where datasets lie that cannot be shipped: `RECBENCH_DATA`, relative to the current folder, or
        `recbench.toml`'s `data`, relative to the root, else the root's folder `data` where it has one."""
        named, configured = self.environ.get("RECBENCH_DATA"), self.config.get("data")
        if named:
            return (self.cwd / Path(named).expanduser()).resolve()
        if configured is not None:
            return (self.path / Path(configured).expanduser()).resolve()
        default = self.path / "data"
        return default if default.is_dir() else None

    @property
    def mlflow_uri(self) -> str | None:
        """The address of the store: `RECBENCH_MLFLOW`, `MLFLOW_TRACKING_URI`, `recbench.toml`, else a file
        under the root. None where it is `off`."""
        named = (self.environ.get("RECBENCH_MLFLOW"), self.environ.get("MLFLOW_TRACKING_URI"))
        value = next(filter(None, named), None) or self.config.get("mlflow")
        return None if value == "off" else value or f"sqlite:///{self.path / 'mlflow.db'}"

    @property
    def offline(self) -> bool:
        value = self.setting("offline")
        if value not in ("true", "false", "1", "0"):
            raise UsageError(f"offline = '{value}' is neither true nor false")
        return value in ("true", "1")

    @property
    def threads(self) -> int:
        """CPU threads of one worker: `RECBENCH_THREADS`, else the cores that this process may use."""
        value = self.setting("threads")
        if value is None:
            return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        if not value.isdigit() or int(value) < 1:
            raise UsageError(f"threads = '{value}' is not a positive number", fix="RECBENCH_THREADS=2")
        return int(value)

    def setting(self, name: str, flag: str | None = None) -> str | None:
        """The first of: the flag, `RECBENCH_<NAME>`, `recbench.toml`, the default."""
        for value in (flag, self.environ.get(f"RECBENCH_{name.upper()}") or None, self.config.get(name)):
            if value is not None:
                return value
        return DEFAULTS[name]

    def check_writable(self, *, min_free_bytes: int = MIN_FREE_BYTES) -> None:
        """Raise MissingError, naming the folder, unless runs can be written with room to spare."""
        for folder in (self.runs, self.cache):
            fix = "recbench run --root FOLDER, or RECBENCH_ROOT=FOLDER"
            try:
                folder.mkdir(parents=True, exist_ok=True)
                probe = folder / f".probe-{os.getpid()}"
                probe.write_bytes(b"x")
                probe.unlink()
                free = shutil.disk_usage(folder).free
            except OSError as error:
                raise MissingError(f"cannot write to {folder}", why=str(error), fix=fix) from None
            if free < min_free_bytes:
                raise MissingError(
                    f"only {free / 2**30:.1f} GiB are free under {folder}",
                    why=f"a run needs at least {min_free_bytes / 2**30:.1f} GiB for its checkpoints",
                    fix=f"free some space, or {fix}",
                )


def discover(
    flag: Path | None = None, *, cwd: Path | None = None, environ: Mapping[str, str] | None = None
) -> Root:
    """`--root`, else `RECBENCH_ROOT`, else the nearest folder upwards that is one, else the current one."""
    cwd = Path.cwd() if cwd is None else cwd
    environ = dict(os.environ) if environ is None else environ
    if flag is not None:
        path = flag
    elif environ.get("RECBENCH_ROOT"):
        path = Path(environ["RECBENCH_ROOT"])
    else:
        candidates = (cwd, *cwd.parents)
        path = next((f for f in candidates if (f / CONFIG).exists() or (f / "leaderboards").is_dir()), cwd)
    path = (cwd / path.expanduser()).resolve()
    table = read_toml(path / CONFIG)
    return Root(
        path=path,
        environ=environ,
        config=settings_of(table, path / CONFIG),
        profiles=profiles_of(table, path / CONFIG),
        cwd=cwd,
    )


def read_toml(path: Path) -> dict[str, Any]:
    """The table in a TOML file, empty where the file is absent. DataError where it is not valid."""
    return parse_toml(path.read_bytes(), path) if path.exists() else {}


def settings_of(table: Mapping[str, Any], path: Path) -> dict[str, str]:
    """The plain settings as text."""
    settings = {key: value for key, value in table.items() if key != PROFILES}
    for key, value in settings.items():
        if key not in DEFAULTS:
            raise unknown_name(f"setting of {path}", key, (*DEFAULTS, PROFILES))
        if isinstance(value, (dict, list)):
            raise UsageError(f"{path}: {key} must be a plain value, not {type(value).__name__}")
    return {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in settings.items()}


def profiles_of(table: Mapping[str, Any], path: Path) -> dict[str, dict[str, Any]]:
    profiles = table.get(PROFILES, {})
    if not isinstance(profiles, dict) or not all(isinstance(one, dict) for one in profiles.values()):
        raise UsageError(f"{path}: profiles are tables", fix='[profiles.NAME]\npartition = "gpu"')
    return profiles
