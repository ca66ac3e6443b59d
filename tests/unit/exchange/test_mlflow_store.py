from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recbench.base import digest
from recbench.board import build
from recbench.errors import MissingError
from recbench.exchange import mlflow_store, mlflow_values
from recbench.results import bundle
from recbench.results.bundle import Bundle
from recbench.results.measured.record import MeasuredValue, OutsideMetric

pytest.importorskip("mlflow", reason="the store needs mlflow")

MakeBundle = Callable[..., Bundle]

CURVE = "".join(f'{{"step": {step}, "loss": {3 - step / 1000}, "stage": "sft"}}\n' for step in range(1100))


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One database for all tests, each with its own experiment: creating the tables takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


@pytest.fixture
def stored(uri: str, tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., tuple[int, list[Any]]]:
    """Sync bundles into an experiment of this test's own; return the count and the store's runs."""
    from mlflow import MlflowClient

    def sync(*bundles: Bundle) -> tuple[int, list[Any]]:
        name = request.node.name
        count = mlflow_store.sync(bundles, uri=uri, experiment=name, artifacts_root=tmp_path / "artifacts")
        client = MlflowClient(tracking_uri=uri)
        runs = client.search_runs([client.get_experiment_by_name(name).experiment_id])
        return count, [run for run in runs if mlflow_store.RUN_ID in run.data.tags]

    return sync


Stored = Callable[..., tuple[int, list[Any]]]


def test_a_run_arrives_with_metrics_parameters_tags_and_dataset(
    make_bundle: MakeBundle, stored: Stored
) -> None:
    made = make_bundle(
        "ilrec", [1, 0, 2, 0], seed=3, parent="abc", llm={"backbone": "tiny", "paradigm": "title"}
    )
    count, [run] = stored(made)
    assert count == 1
    assert run.data.metrics["hr_at_1"] == 1 / 4
    assert run.data.metrics["mrr_at_10"] == (1 + 1 / 2) / 4
    assert run.data.metrics["spent/seconds.fit"] == 2.0
    assert run.data.metrics["ranking/certified_share"] == 1.0
    assert (run.data.params["fit.seed"], run.data.params["fit.params.beta"]) == ("3", "0.1")
    tags = run.data.tags
    assert (tags["recbench.run_id"], tags["recbench.fit_id"]) == (made.id, made.spec.fit.id)
    assert (tags["recbench.parent"], tags["recbench.dataset"]) == ("abc", "toy")
    assert (tags["recbench.digest.split"], tags["recbench.protocol"]) == ("cc", "ilrec v1")
    assert tags["recbench.block.backbone"] == "tiny"
    [used] = run.inputs.dataset_inputs
    assert (used.dataset.name, used.dataset.digest) == ("toy", "cc")
    assert (run.info.status, run.info.run_name) == ("FINISHED", "ilrec · toy · title · tiny · seed 3")
    assert run.info.end_time - run.info.start_time == 60_000  # a minute, by the manifest


def test_syncing_twice_stores_every_number_once(make_bundle: MakeBundle, stored: Stored, uri: str) -> None:
    from mlflow import MlflowClient

    made = make_bundle("ilrec", [1, 0, 2], curve=CURVE)
    assert stored(made)[0] == 1
    count, [run] = stored(made)
    assert count == 0
    client = MlflowClient(tracking_uri=uri)
    losses = client.get_metric_history(run.info.run_id, "train/loss")
    assert sorted(point.step for point in losses) == list(range(1100))
    assert {point.step: point.value for point in losses}[500] == 2.5
    assert len(client.get_metric_history(run.info.run_id, "ndcg_at_10")) == 1
    assert "train/stage" not in run.data.metrics


def test_the_artifacts_are_the_bundle(
    make_bundle: MakeBundle, stored: Stored, uri: str, tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    made = make_bundle("ilrec", [1, 0, 2])
    _, [run] = stored(made)
    folder = tmp_path / "back"
    folder.mkdir()
    MlflowClient(tracking_uri=uri).download_artifacts(run.info.run_id, "", str(folder))
    again = bundle.load(folder)
    assert again.id == made.id
    assert again.ranks.tolist() == [1, 0, 2]


def test_a_run_that_was_made_anew_replaces_the_stored_one(make_bundle: MakeBundle, stored: Stored) -> None:
    first = make_bundle("ilrec", [1, 0])
    stored(first)
    second = make_bundle("ilrec", [1, 1])
    assert second.id == first.id
    count, [run] = stored(second)
    assert count == 1
    assert run.data.metrics["hr_at_1"] == 1.0


def test_what_an_interrupted_upload_left_is_logged_again(
    make_bundle: MakeBundle, stored: Stored, uri: str
) -> None:
    from mlflow import MlflowClient

    made = make_bundle("ilrec", [1, 0])
    _, [whole] = stored(made)
    client = MlflowClient(tracking_uri=uri)
    client.delete_run(whole.info.run_id)
    half = client.create_run(whole.info.experiment_id, tags={mlflow_store.RUN_ID: made.id})
    count, [run] = stored(made)
    assert count == 1
    assert run.info.run_id != half.info.run_id
    assert run.data.metrics["hr_at_1"] == 0.5


def test_a_failed_run_is_stored_as_failed_with_its_reason(make_bundle: MakeBundle, stored: Stored) -> None:
    _, [run] = stored(make_bundle("ilrec", [], failure={"class": "oom", "reason": "needed 80 GiB"}))
    assert run.info.status == "FAILED"
    assert "needed 80 GiB" in run.data.tags["recbench.reason"]
    assert "ndcg_at_10" not in run.data.metrics


def test_several_runs_are_counted_and_kept_apart(make_bundle: MakeBundle, stored: Stored) -> None:
    made = [make_bundle("ilrec", [1, 0], seed=seed) for seed in range(3)]
    assert stored(*made[:2])[0] == 2
    count, runs = stored(*made)
    assert count == 1
    assert {run.data.tags["recbench.run_id"] for run in runs} == {one.id for one in made}


def test_a_board_from_the_store_is_the_board_from_the_bundles(
    make_bundle: MakeBundle, stored: Stored, uri: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    llm = {"backbone": "tiny", "paradigm": "title"}
    made = [make_bundle("sft", [1, 0, 2, 4], seed=seed, llm=llm, curve=CURVE) for seed in range(2)]
    made += [make_bundle("ilrec", [1, 0, 2, seed], seed=seed, llm=llm) for seed in range(2)]
    made.append(make_bundle("gru4rec", [], failure={"class": "oom", "reason": "needed 80 GiB"}))
    value = {"10": MeasuredValue(mean=0.25)}
    for run in made[:2]:
        OutsideMetric(
            metric="novelty",
            parameters={},
            of="lists",
            manifest=digest.of_file(run.path / "manifest.json"),
            values=value,
            version=1,
            distribution="acme",
            release="2.0",
            code="ab" * 32,
        ).write(run.path)
    stored(*made)
    folders = mlflow_store.fetch(tmp_path / "fetched", uri=uri, experiment=request.node.name)
    fetched = [bundle.load(folder, record=True) for folder in folders]
    assert build.build(made).tables[0].outside[0].whose == "acme 2.0, version 1, code abababababab"
    assert not any((one.path / "log.txt").exists() for one in fetched)
    assert build.build(fetched).to_json() == build.build(made).to_json()


@pytest.mark.parametrize("tag", ["../../elsewhere", "/tmp/elsewhere", "AAAAAAAAAAAA", ""])
def test_an_id_of_a_stored_run_that_is_none_makes_no_folder(
    tag: str,
    make_bundle: MakeBundle,
    stored: Stored,
    uri: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    from mlflow import MlflowClient

    _, [run] = stored(make_bundle("sft", [1, 0, 2, 4]))
    MlflowClient(tracking_uri=uri).set_tag(run.info.run_id, mlflow_store.RUN_ID, tag)
    (tmp_path / "a" / "b").mkdir(parents=True)
    with pytest.raises(MissingError, match="an id has 12 hexadecimal digits") as caught:
        mlflow_store.fetch(tmp_path / "a" / "b", uri=uri, experiment=request.node.name)
    assert f"has a run whose tag {mlflow_store.RUN_ID} is {tag!r}" in caught.value.what
    assert not (tmp_path / "elsewhere").exists()
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_store_without_runs_is_said_to_hold_none(uri: str, tmp_path: Path) -> None:
    mlflow_store.sync([], uri=uri, experiment="something else", artifacts_root=tmp_path)
    with pytest.raises(MissingError, match="holds no runs"):
        mlflow_store.fetch(tmp_path, uri=uri, experiment="nothing of that name")


def test_long_values_are_cut_and_odd_names_made_legal(make_bundle: MakeBundle, stored: Stored) -> None:
    odd = make_bundle("ilrec", [1, 0], llm={"backbone": "x" * 900, "a=b:c": 1}, curve='{"loss@1 (ü)": 2.0}\n')
    _, [run] = stored(odd)
    assert run.data.params["fit.llm.backbone"] == "x" * 499 + "…"
    assert run.data.params["fit.llm.a_b_c"] == "1"
    assert run.data.metrics["train/loss_at_1 ___"] == 2.0


def test_numbers_that_are_none_or_not_finite_are_left_out() -> None:
    records: list[dict[str, Any]] = [
        {"loss": float("nan"), "lr": 0.5, "best": True},
        {"step": 9, "loss": 1.5, "lr": None},
    ]
    assert list(mlflow_values.curves(records)) == [("train/lr", 0.5, 0), ("train/loss", 1.5, 9)]


def test_a_store_that_cannot_be_opened_is_named(make_bundle: MakeBundle, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    uri = f"sqlite:///{tmp_path}/file/mlflow.db"
    with pytest.raises(MissingError, match=r"file/mlflow\.db"):
        mlflow_store.sync([make_bundle("ilrec", [1, 0])], uri=uri, artifacts_root=tmp_path)


def test_a_store_that_takes_results_takes_a_mark_and_no_run(uri: str, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    mlflow_store.touch(uri, experiment="touched", artifacts_root=tmp_path)
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("touched")
    assert mlflow_store.CHECKED in experiment.tags
    assert client.search_runs([experiment.experiment_id]) == []
    with pytest.raises(MissingError, match="MLflow store"):
        mlflow_store.touch("http://127.0.0.1:1")


def test_nothing_that_reads_bundles_imports_mlflow_scipy_or_jinja2() -> None:
    names = (
        "comparison.block",
        "results.bundle",
        "results.evaluate",
        "results.metrics",
        "comparison.significance",
        "comparison.compare",
        "board.build",
        "board.folder",
        "board.render",
        "board.paper.published",
        "board.paper.reproduce",
        "board.paper.text",
        "exchange.mlflow_store",
    )
    program = (
        f"import sys; {'; '.join(f'import recbench.{name}' for name in names)}; "
        "print(sorted({'mlflow', 'scipy', 'pandas', 'torch', 'jinja2', 'rich'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout.strip() == "[]"
