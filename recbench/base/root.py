"""The root folder of runs and caches, and the settings of all commands under it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from recbench.base.files import expanded, parse_toml, without_links
from recbench.errors import MissingError, UsageError, unknown_name

CONFIG = "recbench.toml"
PROFILES = "profiles"

DEFAULTS: Mapping[str, str | None] = {
    "backbone": "tiny",
    "paradigm": "semantic-id",
    "protocol": "ilrec",
    "ranker": None,  # None: the default of the paradigm
    "data": None,  # folder of datasets that recbench cannot ship
    "device": None,  # None: a GPU where one is visible
    "threads": None,  # None: all cores that this process may use
    "offline": "false",
    "guard": "landlock",  # how the test targets are kept from methods: landlock, audit or off
    "mlflow": None,  # URI of the MLflow store; None: a file under the root; "off": no store
}

MIN_FREE_BYTES = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    path: Path
    environ: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, str] = field(default_factory=dict)
    """The settings of `recbench.toml`, as text."""
    profiles: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The tables `[profiles.NAME]` of `recbench.toml`: how a cluster wants its jobs."""
    cwd: Path = field(default_factory=Path.cwd)
    """The current folder of the user, to which paths in `environ` are relative."""

    @property
    def runs(self) -> Path:
        return self.path / "runs"

    @property
    def cache(self) -> Path:
        return self.path / "cache"

    @property
    def artifacts(self) -> Path:
        """The files of runs in an MLflow store without a server."""
        return self.path / "mlartifacts"

    @property
    def data_dir(self) -> Path | None:
        """The folder of datasets that recbench cannot ship: `RECBENCH_DATA`, relative to the current folder,
        or `data` in `recbench.toml`, relative to the root, else the root's folder `data` if it exists."""
        named, configured = self.environ.get("RECBENCH_DATA"), self.config.get("data")
        if named:
            return without_links(self.cwd / expanded(named))
        if configured is not None:
            return without_links(self.path / expanded(configured))
        default = self.path / "data"
        return default if default.is_dir() else None

    @property
    def mlflow_uri(self) -> str | None:
        """The URI of the MLflow store: `RECBENCH_MLFLOW`, `MLFLOW_TRACKING_URI`, `recbench.toml`, else a file
        under the root. None where the first of these is `off`."""
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
    def guard(self) -> Literal["landlock", "audit", "off"]:
        """How the test targets are kept from methods: `landlock` is `audit` where the kernel has none."""
        match self.setting("guard"):
            case "landlock" | "audit" | "off" as value:
                return value
            case value:
                raise UsageError(
                    f"guard = '{value}' is none of landlock, audit and off", fix="RECBENCH_GUARD=landlock"
                )

    @property
    def threads(self) -> int:
        """CPU threads of a worker: the setting `threads`, else the cores that this process may use."""
        value = self.setting("threads")
        if value is None:
            return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        if not re.fullmatch("[0-9]{1,6}", value) or int(value) < 1:
            raise UsageError(f"threads = '{value}' is not a positive number", fix="RECBENCH_THREADS=2")
        return int(value)

    def setting(self, name: str, flag: str | None = None) -> str | None:
        """The first value of: the flag, `RECBENCH_<NAME>`, `recbench.toml`, the default."""
        for value in (flag, self.environ.get(f"RECBENCH_{name.upper()}") or None, self.config.get(name)):
            if value is not None:
                return value
        return DEFAULTS[name]

    def check_writable(self, *, min_free_bytes: int = MIN_FREE_BYTES) -> None:
        """Raise MissingError, naming the folder, unless runs and caches can be written with room to spare."""
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
    """The root: `--root`, else `RECBENCH_ROOT`, else the nearest folder upwards with `recbench.toml` or
    `leaderboards/`, else the current folder."""
    cwd = Path.cwd() if cwd is None else cwd
    environ = dict(os.environ) if environ is None else environ
    if flag is not None:
        path = flag
    elif environ.get("RECBENCH_ROOT"):
        path = Path(environ["RECBENCH_ROOT"])
    else:
        candidates = (cwd, *cwd.parents)
        path = next((f for f in candidates if _has_config(f) or (f / "leaderboards").is_dir()), cwd)
    path = without_links(cwd / expanded(path))
    table = read_toml(path / CONFIG)
    return Root(
        path=path,
        environ=environ,
        config=settings_of(table, path / CONFIG),
        profiles=profiles_of(table, path / CONFIG),
        cwd=cwd,
    )


def for_methods(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` for processes that run a method's code, without the address and the password of a server of
    MLflow: they log nothing, and earlier results are there. A file is kept from them by their guard."""
    store = ("RECBENCH_MLFLOW", "MLFLOW_TRACKING_")
    return {
        name: value
        for name, value in environ.items()
        if not name.startswith(store) or value.startswith("sqlite:") or value == "off"
    }


def _has_config(folder: Path) -> bool:
    return (folder / CONFIG).exists() or (folder / CONFIG).is_symlink()


def read_toml(path: Path) -> dict[str, Any]:
    """The table in a TOML file, empty where the file is absent.

    DataError where it is not valid, MissingError where it is there and cannot be read.
    """
    try:
        return parse_toml(path.read_bytes(), path) if path.exists() or path.is_symlink() else {}
    except OSError as error:
        raise MissingError(f"{path} cannot be read", why=str(error), fix="repair or remove it") from None


def settings_of(table: Mapping[str, Any], path: Path) -> dict[str, str]:
    """The settings outside the profiles, as text."""
    settings = {key: value for key, value in table.items() if key != PROFILES}
    for key, value in settings.items():
        if key not in DEFAULTS:
            raise unknown_name(f"setting of {path}", key, (*DEFAULTS, PROFILES))
        if isinstance(value, (dict, list)):
            raise UsageError(f"{path}: {key} must be a plain value, not {type(value).__name__}")
    return {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in settings.items()}


def profiles_of(table: Mapping[str, Any], path: Path) -> dict[str, dict[str, Any]]:
    """The tables `[profiles.NAME]` by name."""
    profiles = table.get(PROFILES, {})
    if not isinstance(profiles, dict) or not all(isinstance(profile, dict) for profile in profiles.values()):
        raise UsageError(f"{path}: a profile is a table", fix='[profiles.NAME]\npartition = "gpu"')
    return profiles
