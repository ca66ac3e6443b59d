from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest

from recbench.base.root import DEFAULTS, Root, discover, for_methods, profiles_of, read_toml, settings_of
from recbench.errors import DataError, MissingError, UsageError
from recbench.running.slurm.executor import Profile


def test_the_root_is_the_flag_then_the_variable_then_the_nearest_marked_folder(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "recbench.toml").write_text("")
    environ = {"RECBENCH_ROOT": str(tmp_path / "named")}
    assert discover(Path("x"), cwd=inner, environ=environ).path == inner / "x"
    assert discover(cwd=inner, environ=environ).path == tmp_path / "named"
    assert discover(cwd=inner, environ={}).path == tmp_path
    (tmp_path / "a" / "leaderboards").mkdir()
    assert discover(cwd=inner, environ={}).path == tmp_path / "a"


def test_an_unmarked_folder_is_its_own_root(tmp_path: Path) -> None:
    assert discover(cwd=tmp_path, environ={}).path == tmp_path


def test_a_flag_beats_the_variable_beats_the_file_beats_the_default(tmp_path: Path) -> None:
    (tmp_path / "recbench.toml").write_text('backbone = "from-file"\nranker = "beam"\n')
    root = discover(cwd=tmp_path, environ={"RECBENCH_BACKBONE": "from-variable"})
    assert root.setting("backbone", "from-flag") == "from-flag"
    assert root.setting("backbone") == "from-variable"
    assert root.setting("ranker") == "beam"
    assert root.setting("protocol") == "ilrec"


def test_an_unknown_setting_in_the_file_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "recbench.toml").write_text('bakbone = "tiny"\n')
    with pytest.raises(UsageError, match="did you mean 'backbone'"):
        discover(cwd=tmp_path, environ={})


def test_a_table_in_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "recbench.toml").write_text("[backbone]\nname = 1\n")
    with pytest.raises(UsageError, match="backbone must be a plain value"):
        discover(cwd=tmp_path, environ={})


def test_a_file_that_is_not_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "recbench.toml").write_text("backbone =\n")
    with pytest.raises(DataError, match=r"recbench\.toml is not valid TOML"):
        discover(cwd=tmp_path, environ={})


@pytest.mark.parametrize(
    ("environ", "config", "uri"),
    [
        ({}, {}, "sqlite:////r/mlflow.db"),
        ({}, {"mlflow": "http://file"}, "http://file"),
        ({"MLFLOW_TRACKING_URI": "http://server"}, {"mlflow": "http://file"}, "http://server"),
        ({"MLFLOW_TRACKING_URI": "http://server", "RECBENCH_MLFLOW": "off"}, {}, None),
    ],
)
def test_the_store_is_a_file_under_the_root_unless_named_elsewhere(
    environ: dict[str, str], config: dict[str, str], uri: str | None
) -> None:
    assert Root(path=Path("/r"), environ=environ, config=config).mlflow_uri == uri


def test_the_data_folder_is_relative_to_where_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "recbench.toml").write_text('data = "raw"\n')
    inner = tmp_path / "a"
    inner.mkdir()
    assert discover(cwd=inner, environ={}).data_dir == tmp_path / "raw"
    assert discover(cwd=inner, environ={"RECBENCH_DATA": "raw"}).data_dir == inner / "raw"
    assert discover(cwd=inner, environ={"RECBENCH_DATA": "/data"}).data_dir == Path("/data")
    assert discover(tmp_path / "other", cwd=inner, environ={}).data_dir is None


def test_a_home_folder_is_written_as_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert discover(Path("~/x"), cwd=Path("/"), environ={}).path == tmp_path / "x"
    assert discover(cwd=Path("/"), environ={"RECBENCH_ROOT": "~/y"}).path == tmp_path / "y"


def test_a_clone_is_a_root_from_every_folder_in_it() -> None:
    repository = Path(__file__).resolve().parents[3]
    for folder in ("datasets", "docs", "benchmarks"):
        assert discover(cwd=repository / folder, environ={}).path == repository
    assert (repository / "recbench.toml").is_file()


def test_the_settings_file_of_the_repository_shows_every_setting_and_changes_none() -> None:
    path = Path(__file__).resolve().parents[3] / "recbench.toml"
    assert read_toml(path) == {}
    shown = "\n".join(line[2:] for line in path.read_text().splitlines() if " = " in line or "# [" in line)
    table = tomllib.loads(shown)
    assert set(profiles_of(table, path)) == {"a100"}
    values = settings_of(table, path)
    assert values.keys() == DEFAULTS.keys()
    for name, default in DEFAULTS.items():
        assert default is None or values[name] == default
    assert Profile.named("a100", table["profiles"]).partition == "gpu"


def test_threads_are_the_variable_else_the_cores_of_this_process() -> None:
    assert Root(path=Path("/r"), environ={"RECBENCH_THREADS": "3"}).threads == 3
    assert 1 <= Root(path=Path("/r")).threads <= (os.cpu_count() or 1)
    with pytest.raises(UsageError, match="threads = 'many'"):
        _ = Root(path=Path("/r"), environ={"RECBENCH_THREADS": "many"}).threads


@pytest.mark.parametrize(("text", "offline"), [("true", True), ("1", True), ("false", False)])
def test_offline_is_read_from_the_variable(text: str, offline: bool) -> None:
    assert Root(path=Path("/r"), environ={"RECBENCH_OFFLINE": text}).offline is offline


def test_offline_refuses_other_words() -> None:
    with pytest.raises(UsageError, match="neither true nor false"):
        _ = Root(path=Path("/r"), environ={"RECBENCH_OFFLINE": "maybe"}).offline


def test_booleans_of_the_file_are_read(tmp_path: Path) -> None:
    (tmp_path / "recbench.toml").write_text("offline = true\nthreads = 2\n")
    root = discover(cwd=tmp_path, environ={})
    assert root.offline
    assert root.threads == 2


def test_a_place_that_cannot_be_written_is_named_before_any_training(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file where the folder should be")
    with pytest.raises(MissingError, match=f"cannot write to {tmp_path}/runs") as caught:
        Root(path=tmp_path).check_writable()
    assert "--root" in caught.value.fix


def test_too_little_space_is_named_before_any_training(tmp_path: Path) -> None:
    Root(path=tmp_path).check_writable(min_free_bytes=1)
    with pytest.raises(MissingError, match="GiB are free under"):
        Root(path=tmp_path).check_writable(min_free_bytes=1 << 60)
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_process_of_a_method_has_no_address_of_a_server_and_no_password() -> None:
    kept = {"PATH": "/bin", "HF_HOME": "/h", "RECBENCH_DEVICE": "cpu", "RECBENCH_MLFLOW": "sqlite:////a.db"}
    secret = {"MLFLOW_TRACKING_URI": "http://me:secret@host", "MLFLOW_TRACKING_PASSWORD": "secret"}
    assert for_methods(kept | secret) == kept
    assert for_methods({"RECBENCH_MLFLOW": "postgresql://me:secret@host/x"}) == {}
    assert for_methods({"RECBENCH_MLFLOW": "off"}) == {"RECBENCH_MLFLOW": "off"}


def test_a_broken_link_in_place_of_the_configuration_is_named(tmp_path: Path) -> None:
    (tmp_path / "recbench.toml").symlink_to(tmp_path / "nowhere")
    with pytest.raises(MissingError, match=r"recbench\.toml cannot be read"):
        discover(cwd=tmp_path, environ={})


@pytest.mark.parametrize("text", ["a = " + "[" * 5000, "a = " + "9" * 5000, "a = 1\nb", "\xff"])
def test_a_configuration_that_toml_cannot_read_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "recbench.toml").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match="is not valid TOML"):
        discover(cwd=tmp_path, environ={})


def test_a_folder_of_no_user_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'~nosuchuser' names no folder"):
        discover(cwd=tmp_path, environ={"RECBENCH_ROOT": "~nosuchuser"})
