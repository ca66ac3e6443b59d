"""Finished runs in MLflow: a view of the bundles for its pages and queries. Only this file imports MLflow.

A run in the store is complete once it is tagged with the digest of its bundle's manifest, which is set last.
An interrupted upload has no such tag; it is removed and logged again. The runs of one method, one a seed, are
the children of a run with everything that they share and the means over them.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from itertools import chain, islice
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from recbench.base import digest
from recbench.base.environment import install
from recbench.base.files import parse_json
from recbench.errors import MissingError
from recbench.exchange.mlflow_groups import BOARD, GROUP, PARENT, VIEW, VIEW_TAG, log_board, summarise
from recbench.exchange.mlflow_values import curves, mlflow_name, parameters, results, run_name, tags
from recbench.exchange.patience import Beating
from recbench.results.bundle import BULKY, MANIFEST, MARKERS, Bundle, is_inside
from recbench.results.measured import record

EXPERIMENT = "recbench"
RUN_ID = "recbench.run_id"
CONTENT = "recbench.manifest"
CHECKED = "recbench.checked"
FORM = "recbench.form"
"""Under which names a run was logged; a run of other names is logged again."""
NAMES = "2"
EXPERIMENT_TAGS = dict([("mlflow.experimentKind", "custom_model_development"), VIEW_TAG])
"""The kind that MLflow's pages ask for, and what they show first."""
# The most that MLflow takes in one call, and the longest digest of a dataset.
METRICS_A_CALL = 1000
PARAMS_A_CALL = 100
LONGEST_DATASET_DIGEST = 36


def sync(
    bundles: Iterable[Bundle],
    *,
    uri: str,
    experiment: str = EXPERIMENT,
    artifacts_root: Path | None = None,
    beat: Callable[[], None] = lambda: None,
) -> int:
    """Log the bundles that are not in the store at `uri` yet; return their number.

    A run of the same id with other content is replaced. `artifacts_root` is the folder for files
    where the store is a database; a server keeps them itself. `beat` is called at every answer of the store.
    MissingError where MLflow is not installed or the store cannot be reached.
    """
    client, failure = _client(uri)
    client = Beating(client, beat)
    try:
        number = _experiment(client, experiment, None if uri.startswith("http") else artifacts_root)
        stored, groups = _stored(client, number, RUN_ID), _stored(client, number, GROUP)
        names: dict[str, str] = {}
        new = 0
        for bundle in bundles:
            new += _log_once(client, number, bundle, stored, groups)
            names.setdefault(bundle.spec.method_key, run_name(bundle))
        every = [run for runs in stored.values() for run in runs]
        for key, name in names.items():
            group = client.get_run(groups[key][0].info.run_id)
            summarise(client, group, every, name, partial(_log_now, client))
        return new
    except failure as error:
        raise MissingError(
            f"the MLflow store {uri} took no results",
            why=_first_line(error),
            fix="recbench sync, once the store is up; the runs under runs/ are complete",
        ) from error


def sync_boards(
    folders: Iterable[Path],
    names: Sequence[str],
    *,
    uri: str,
    experiment: str = EXPERIMENT,
    artifacts_root: Path | None = None,
) -> int:
    """Log the files `names` of each board's folder, as a run of the board's name; return how many boards were
    new or changed. MissingError as for `sync`."""
    client, failure = _client(uri)
    try:
        number = _experiment(client, experiment, None if uri.startswith("http") else artifacts_root)
        stored = [run for runs in _stored(client, number, BOARD).values() for run in runs]
        return sum(log_board(client, number, folder, names, stored) for folder in folders)
    except failure as error:
        raise MissingError(
            f"the MLflow store {uri} took no boards",
            why=_first_line(error),
            fix="recbench sync, once the store is up",
        ) from error


def touch(uri: str, *, experiment: str = EXPERIMENT, artifacts_root: Path | None = None) -> None:
    """Write a tag, to see whether the store takes results. MissingError where it does not."""
    client, failure = _client(uri)
    try:
        number = _experiment(client, experiment, artifacts_root)
        client.set_experiment_tag(number, CHECKED, datetime.now(UTC).isoformat())
    except failure as error:
        raise MissingError(
            f"the MLflow store {uri} takes no results",
            why=_first_line(error),
        ) from error


def fetch(
    into: Path, *, uri: str, experiment: str = EXPERIMENT, beat: Callable[[], None] = lambda: None
) -> list[Path]:
    """Download the records of all complete runs of the store, each to a folder under `into`.

    A record is a bundle without its BULKY files. `beat` is called at every answer of the store. MissingError
    where the store cannot be reached or has no such experiment. A record may be damaged, as a bundle may.
    """
    client, failure = _client(uri)
    client = Beating(client, beat)
    try:
        known = client.get_experiment_by_name(experiment)
        if known is None:
            raise MissingError(f"the MLflow store {uri} holds no runs of recbench", fix="recbench sync")
        stored = _stored(client, known.experiment_id, RUN_ID)
        for run_id in stored:
            if not digest.is_short(run_id):
                raise MissingError(
                    f"the MLflow store {uri} has a run whose tag {RUN_ID} is {run_id!r}",
                    why="an id has 12 hexadecimal digits",
                    fix="remove that run from the store",
                )
        whole = [run for runs in stored.values() for run in runs if CONTENT in run.data.tags]
        return [_download(client, run, into / run.data.tags[RUN_ID]) for run in whole]
    except failure as error:
        raise MissingError(
            f"the MLflow store {uri} gave no runs",
            why=_first_line(error),
            fix="the same command once the store is up, or --from bundles",
        ) from error


def _download(client: Any, run: Any, folder: Path) -> Path:
    folder.mkdir(parents=True)
    client.download_artifacts(run.info.run_id, MANIFEST, str(folder))
    try:
        manifest = parse_json((folder / MANIFEST).read_bytes())
        names = [name for name in manifest["files"] if name not in BULKY and is_inside(name)]
        names.append(MARKERS[manifest["status"]])
    except (ValueError, KeyError, TypeError, AttributeError):
        return folder  # whoever loads it names it
    for name in names:
        client.download_artifacts(run.info.run_id, name, str(folder))
    for file in client.list_artifacts(run.info.run_id, record.FOLDER):
        if file.path.endswith(".json") and is_inside(file.path):
            got = Path(client.download_artifacts(run.info.run_id, file.path, str(folder)))
            (folder / record.FOLDER).mkdir(exist_ok=True)
            got.replace(folder / record.FOLDER / got.name)  # a local store leaves the folder's name out
    return folder


def first_view(uri: str, *, experiment: str = EXPERIMENT) -> str:
    """The path of the page with all methods and their means, the best first; empty before a run is stored."""
    client, failure = _client(uri)
    try:
        known = client.get_experiment_by_name(experiment)
    except failure:
        return ""
    return "" if known is None else f"/#/experiments/{known.experiment_id}/runs?viewStateShareKey={VIEW}"


def serve(uri: str, *, artifacts_root: Path, host: str, port: int) -> NoReturn:
    """Replace this process by MLflow's server on a database. MissingError where MLflow is not installed."""
    if find_spec("mlflow") is None:
        raise MissingError("MLflow is not installed", fix=install("train"))
    words = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port)]
    words += ["--default-artifact-root", artifacts_root.resolve().as_uri()]
    words += ["--workers", "1"]  # one reader needs no more, and each takes seconds and memory to start
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    store = {"MLFLOW_BACKEND_STORE_URI": uri}  # everybody sees the words of a process, and it has a password
    os.execve(sys.executable, words, {**quiet, **os.environ, **store})


def load() -> None:
    """Import MLflow, which takes seconds. MissingError where it is not installed."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # one bar a file
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # the default of 7 waits for minutes
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    try:
        for module in ("mlflow", "sqlalchemy"):
            import_module(module)
    except ImportError as error:
        raise MissingError("MLflow is not installed", why=str(error), fix=install("train")) from error


def _client(uri: str) -> tuple[Any, tuple[type[Exception], ...]]:
    """A client of the store, and the exceptions that it raises where the store cannot be used."""
    load()
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    for chatter in ("mlflow", "alembic"):
        logging.getLogger(chatter).setLevel(logging.WARNING)
    failure = (MlflowException, SQLAlchemyError, OSError)
    try:
        return MlflowClient(tracking_uri=uri), failure
    except failure as error:
        raise MissingError(f"there is no MLflow store at {uri}", why=str(error)) from error


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def _experiment(client: Any, name: str, artifacts_root: Path | None) -> str:
    known = client.get_experiment_by_name(name)
    if known is not None:
        if known.lifecycle_stage == "deleted":
            client.restore_experiment(known.experiment_id)
        for tag, value in EXPERIMENT_TAGS.items():
            if known.tags.get(tag) != value:
                client.set_experiment_tag(known.experiment_id, tag, value)
        return str(known.experiment_id)
    location = None if artifacts_root is None else artifacts_root.resolve().as_uri()
    return str(client.create_experiment(name, artifact_location=location, tags=EXPERIMENT_TAGS))


def _stored(client: Any, experiment: str, tag: str) -> dict[str, list[Any]]:
    """The store's runs that bear `tag`, by its value."""
    runs: dict[str, list[Any]] = {}
    token = None
    while True:
        page = client.search_runs([experiment], max_results=1000, page_token=token)
        for run in page:
            if tag in run.data.tags:
                runs.setdefault(run.data.tags[tag], []).append(run)
        token = page.token
        if not token:
            return runs


def _log_once(
    client: Any,
    experiment: str,
    bundle: Bundle,
    stored: dict[str, list[Any]],
    groups: dict[str, list[Any]],
) -> bool:
    """Log the bundle unless the store has its id with its content; remove every other run of its id."""
    content = _content(bundle)
    runs = stored.get(bundle.id, [])
    wanted = {CONTENT: content, FORM: NAMES}
    same = next((run for run in runs if wanted.items() <= run.data.tags.items()), None)
    for run in runs:
        if run is not same:
            client.delete_run(run.info.run_id)
    group = _group(client, experiment, bundle, groups)
    stored[bundle.id] = [same or _log(client, experiment, bundle, content, group)]
    return same is None


def _content(bundle: Bundle) -> str:
    """The digest of its manifest, and of what metrics of other packages recorded since, if any did."""
    sealed = digest.of_file(bundle.path / MANIFEST)
    outside = [digest.of_file(file) for file in record.files_of(bundle.path)]
    return digest.of_json([sealed, *outside]) if outside else sealed


def _group(client: Any, experiment: str, bundle: Bundle, groups: dict[str, list[Any]]) -> str:
    """The id of the run whose children are the bundle and its other seeds; created if missing."""
    key = bundle.spec.method_key
    for run in groups.get(key, []):
        if run.info.status == "FINISHED" and run.data.tags.get(FORM) == NAMES:
            return str(run.info.run_id)
    kept = tuple(f"recbench.{name}" for name in ("label", "method", "dataset", "protocol", "phase", "block."))
    started, finished = (_milliseconds(at) for at in (bundle.manifest.started, bundle.manifest.finished))
    shared = {name: value for name, value in tags(bundle).items() if name.startswith(kept)}
    run = client.create_run(
        experiment, tags={**shared, GROUP: key, FORM: NAMES}, start_time=started, run_name=run_name(bundle)
    )
    own = {mlflow_name(name) for name in ("id", "fit_id", "fit.seed", "fit.parent")}
    _log_parameters(client, run.info.run_id, {k: v for k, v in parameters(bundle).items() if k not in own})
    _log_dataset(client, run.info.run_id, bundle)
    client.set_terminated(run.info.run_id, end_time=finished)
    for unfinished in groups.get(key, []):
        client.delete_run(unfinished.info.run_id)
    groups[key] = [client.get_run(run.info.run_id)]
    return str(run.info.run_id)


def _log(client: Any, experiment: str, bundle: Bundle, content: str, group: str) -> Any:
    manifest = bundle.manifest
    started, finished = _milliseconds(manifest.started), _milliseconds(manifest.finished)
    name = run_name(bundle) if bundle.seed is None else f"{run_name(bundle)} · seed {bundle.seed}"
    own = {**tags(bundle), PARENT: group, FORM: NAMES}
    run = client.create_run(experiment, start_time=started, tags=own, run_name=name)
    run_id = run.info.run_id
    _log_parameters(client, run_id, parameters(bundle))
    points = chain(((key, value, 0) for key, value in results(bundle).items()), curves(bundle.curve()))
    # at the run's own time, so that a call repeated after a broken connection adds nothing
    _log_points(client, run_id, points, at=finished or run.info.start_time)
    _log_dataset(client, run_id, bundle)
    outside = [file.relative_to(bundle.path).as_posix() for file in record.files_of(bundle.path)]
    for name in [*bundle.files, *outside, MANIFEST, MARKERS[bundle.status]]:
        folder = PurePosixPath(name).parent.as_posix()
        client.log_artifact(run_id, str(bundle.path / name), None if folder == "." else folder)
    client.set_tag(run_id, CONTENT, content)
    status = "FINISHED" if bundle.status == "complete" else "FAILED"
    client.set_terminated(run_id, status=status, end_time=finished)
    return client.get_run(run_id)


def _log_parameters(client: Any, run_id: str, values: Mapping[str, str]) -> None:
    from mlflow.entities import Param

    for params in _batches(values.items(), PARAMS_A_CALL):
        client.log_batch(run_id, params=[Param(key, value) for key, value in params])


def _log_points(client: Any, run_id: str, points: Iterable[tuple[str, float, int]], *, at: int) -> None:
    """Log (name, value, step), all with the time `at` in milliseconds."""
    from mlflow.entities import Metric

    for chunk in _batches(points, METRICS_A_CALL):
        client.log_batch(run_id, metrics=[Metric(key, value, at, step) for key, value, step in chunk])


def _log_now(client: Any, run_id: str, values: Mapping[str, float], step: int) -> None:
    """Values that change with the number of runs that they are of."""
    now = int(datetime.now(UTC).timestamp() * 1000)
    _log_points(client, run_id, ((key, value, step) for key, value in values.items()), at=now)


def _log_dataset(client: Any, run_id: str, bundle: Bundle) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(
        name=bundle.spec.fit.dataset,
        digest=bundle.spec.fit.split[:LONGEST_DATASET_DIGEST],
        source_type="recbench",
        source=digest.canonical_json({"dataset": bundle.spec.fit.dataset, "digests": dict(bundle.digests)}),
        profile=digest.canonical_json(dict(bundle.manifest.statistics)),
    )
    context = [InputTag("mlflow.data.context", bundle.spec.phase)]
    client.log_inputs(run_id, datasets=[DatasetInput(dataset=dataset, tags=context)])


def _batches(values: Iterable[Any], size: int) -> Iterator[list[Any]]:
    left = iter(values)
    while chunk := list(islice(left, size)):
        yield chunk


def _milliseconds(time: str | None) -> int | None:
    return int(datetime.fromisoformat(time).timestamp() * 1000) if time else None
