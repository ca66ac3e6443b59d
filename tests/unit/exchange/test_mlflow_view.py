"""What MLflow's first view shows of a real store: groups with means, telling names, boards."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from statistics import stdev
from typing import Any

import pytest

from recbench.board import build, folder
from recbench.board.overview import BOARD
from recbench.exchange import mlflow_store
from recbench.exchange.mlflow_values import group_results
from recbench.results.bundle import Bundle

pytest.importorskip("mlflow", reason="the store needs mlflow")

MakeBundle = Callable[..., Bundle]
LLM = {"backbone": "tiny", "paradigm": "title"}


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


@pytest.fixture
def store(uri: str, tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., dict[str, Any]]:
    """Sync bundles into an experiment of this test's own; return all its runs by name."""
    from mlflow import MlflowClient

    def sync(*bundles: Bundle) -> dict[str, Any]:
        name = request.node.name
        mlflow_store.sync(bundles, uri=uri, experiment=name, artifacts_root=tmp_path / "artifacts")
        client = MlflowClient(tracking_uri=uri)
        runs = client.search_runs([client.get_experiment_by_name(name).experiment_id])
        assert len({run.info.run_name for run in runs}) == len(runs)
        return {run.info.run_name: run for run in runs}

    return sync


Store = Callable[..., dict[str, Any]]


def test_a_group_has_mean_and_sd_of_its_seeds_and_says_of_what_they_are(
    make_bundle: MakeBundle, store: Store
) -> None:
    # hr@1 of 1/4, 2/4, 4/4
    ranks = ([1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1])
    runs = [make_bundle("ilrec", ranks[seed], seed=seed, llm=LLM) for seed in range(3)]
    runs.append(make_bundle("sft", [1, 0, 2, 0], llm=LLM))
    found = store(*runs)
    group = found["ilrec · toy · title · tiny · mean of 3 seeds"]
    assert group.data.metrics["hr_at_1"] == pytest.approx(7 / 12)
    assert group.data.metrics["sd/hr_at_1"] == pytest.approx(stdev([0.25, 0.5, 1.0]))
    assert group.data.metrics["spent/seconds.fit"] == 2.0
    assert not any(name.startswith(("train/", "sd/train/")) for name in group.data.metrics)
    assert (group.data.tags["recbench.dataset"], group.data.tags["recbench.block.paradigm"]) == (
        "toy",
        "title",
    )
    assert [one.dataset.name for one in group.inputs.dataset_inputs] == ["toy"]
    assert group.data.params["fit.params.beta"] == "0.1"
    assert "fit.seed" not in group.data.params
    assert group.info.status == "FINISHED"
    children = [run for run in found.values() if run.data.tags.get("mlflow.parentRunId") == group.info.run_id]
    assert {run.info.run_name for run in children} == {
        f"ilrec · toy · title · tiny · seed {seed}" for seed in range(3)
    }
    alone = found["sft · toy · title · tiny"]
    assert alone.data.metrics["hr_at_1"] == 0.25
    assert not any(name.startswith("sd/") for name in alone.data.metrics)


def test_a_seed_that_comes_later_changes_mean_and_name_and_adds_no_group(
    make_bundle: MakeBundle, store: Store, uri: str
) -> None:
    from mlflow import MlflowClient

    first, second, failed = (
        make_bundle("sasrec", [1, 0], seed=0),
        make_bundle("sasrec", [1, 1], seed=1),
        make_bundle("sasrec", [], seed=2, failure={"class": "oom", "reason": "needed 80 GiB"}),
    )
    assert store(first)["sasrec · toy"].data.metrics["hr_at_1"] == 0.5
    found = store(second)
    group = found["sasrec · toy · mean of 2 seeds"]
    assert "sasrec · toy" not in found
    assert group.data.metrics["hr_at_1"] == 0.75
    again = store(first, second, failed)["sasrec · toy · mean of 2 seeds"]  # a failed seed has no metrics
    assert again.info.run_id == group.info.run_id
    history = MlflowClient(tracking_uri=uri).get_metric_history(group.info.run_id, "hr_at_1")
    assert [(point.step, point.value) for point in history] == [(1, 0.5), (2, 0.75)]
    replaced = store(make_bundle("sasrec", [0, 0], seed=1))["sasrec · toy · mean of 2 seeds"]
    assert replaced.data.metrics["hr_at_1"] == 0.25


def test_metrics_of_test_targets_are_the_first_by_name(make_bundle: MakeBundle, store: Store) -> None:
    tested = make_bundle("ilrec", [1, 0], curve='{"step": 1, "loss": 2.0}\n', seed=0)
    tried = make_bundle("ilrec", [1, 0], phase="valid", seed=0)
    found = store(tested, make_bundle("ilrec", [1, 1], seed=1), tried)
    names = sorted(found["ilrec · toy · seed 0"].data.metrics)
    first = [name for name in names if name.startswith(("hr_at", "mrr_at", "ndcg_at"))]
    assert names[: len(first)] == first
    assert {name.partition("/")[0] for name in names[len(first) :]} == {"ranking", "spent", "train"}
    assert sorted(found["ilrec · toy · mean of 2 seeds"].data.metrics)[: len(first)] == first
    validated = found["ilrec · toy · validation · seed 0"].data.metrics
    assert validated["valid/hr_at_1"] == 0.5
    assert "hr_at_1" not in validated


def test_a_metric_that_some_seed_lacks_has_no_mean() -> None:
    runs = [{"a": 1.0, "b": 2.0, "train/loss": 1.0}, {"a": 3.0, "train/loss": 2.0}]
    assert group_results(runs) == {"a": 2.0, "sd/a": pytest.approx(2**0.5)}
    assert group_results([]) == {}


def test_the_experiment_has_a_kind_also_where_an_earlier_version_made_it(uri: str, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    client.create_experiment("old", artifact_location=str(tmp_path))
    for name in ("old", "new"):
        mlflow_store.sync([], uri=uri, experiment=name, artifacts_root=tmp_path)
        tags = client.get_experiment_by_name(name).tags
        assert tags["mlflow.experimentKind"] == "custom_model_development"


def test_the_first_view_has_the_methods_with_their_means_the_best_first(
    make_bundle: MakeBundle, store: Store, uri: str, request: pytest.FixtureRequest
) -> None:
    from mlflow import MlflowClient

    store(make_bundle("sft", [0, 1]), make_bundle("ilrec", [1, 1]), make_bundle("ilrec", [1, 1], seed=1))
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(request.node.name)
    address = mlflow_store.first_view(uri, experiment=request.node.name)
    assert address == f"/#/experiments/{experiment.experiment_id}/runs?viewStateShareKey=recbench"
    view = json.loads(experiment.tags["mlflow.sharedViewState.recbench"])
    order = f"{view['orderByKey']} {'ASC' if view['orderByAsc'] else 'DESC'}"
    found = client.search_runs([experiment.experiment_id], view["searchFilter"], order_by=[order])
    assert [run.info.run_name for run in found] == ["ilrec · toy · mean of 2 seeds", "sft · toy"]
    shown = {one.removeprefix("metrics.").strip("`") for one in view["selectedColumns"]}
    # these made-up runs have no total of their seconds
    assert shown - set(found[0].data.metrics) == {"spent/seconds.total"}
    assert mlflow_store.first_view(uri, experiment="nothing of that name") == ""


def test_a_run_under_earlier_names_is_logged_again(make_bundle: MakeBundle, store: Store, uri: str) -> None:
    from mlflow import MlflowClient

    made = make_bundle("ilrec", [1, 0])
    client = MlflowClient(tracking_uri=uri)
    for run in store(made).values():
        client.delete_tag(run.info.run_id, mlflow_store.FORM)
    assert set(store(made)) == {"ilrec · toy", "ilrec · toy · seed 0"}


def test_a_board_is_logged_once_with_its_text_and_again_when_it_changes(
    make_bundle: MakeBundle, uri: str, tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    made = [make_bundle("ilrec", [1, 0, 2]), make_bundle("sft", [0, 1, 3])]
    place = tmp_path / "leaderboards" / "small"
    names = (BOARD, *folder.FORMS)

    def bring() -> int:
        [found] = folder.boards_of(tmp_path)
        return mlflow_store.sync_boards(
            [found], names, uri=uri, experiment="boards", artifacts_root=tmp_path / "artifacts"
        )

    folder.write(place, build.build(made[:1]), made[:1])
    assert (bring(), bring()) == (1, 0)
    folder.write(place, build.build(made), made)
    assert bring() == 1
    client = MlflowClient(tracking_uri=uri)
    [run] = client.search_runs([client.get_experiment_by_name("boards").experiment_id])
    assert (run.info.run_name, run.info.status) == ("board small", "FINISHED")
    assert "| rank | method |" in run.data.tags["mlflow.note.content"]
    assert "sft" in run.data.tags["mlflow.note.content"]
    assert {one.path for one in client.list_artifacts(run.info.run_id)} == set(names)


def test_the_pages_are_served_by_one_process(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[tuple[list[str], dict[str, str]]] = []
    monkeypatch.setattr("os.execve", lambda _path, words, environ: called.append((words, environ)))
    mlflow_store.serve(uri, artifacts_root=tmp_path, host="127.0.0.1", port=1)
    [(words, environ)] = called
    assert words[-2:] == ["--workers", "1"]
    assert environ["MLFLOW_BACKEND_STORE_URI"] == uri
    assert uri not in " ".join(words)  # which may have a password, and which everybody sees
