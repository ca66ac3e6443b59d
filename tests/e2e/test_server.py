"""MLflow's server on PostgreSQL, both real: what a server that dies in the middle does to the results."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from recbench.board import build
from recbench.errors import MissingError
from recbench.exchange import mlflow_store, mlflow_values
from recbench.protocol import get_protocol
from recbench.results import bundle
from recbench.results.bundle import Bundle
from recbench.results.manifest import Manifest
from recbench.results.metrics import summary
from recbench.results.spec import FitSpec, RunSpec

pytest.importorskip("mlflow", reason="the store needs mlflow")
pytest.importorskip("psycopg2", reason="PostgreSQL needs its driver: pip install psycopg2-binary")

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin")) if os.name == "posix" else []
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PROGRAMS, reason="needs PostgreSQL; on Debian: apt install postgresql"),
]
USER = "postgres"
PATIENCE = 300  # seconds for a server to answer


def as_postgres(*words: str) -> list[str]:
    """PostgreSQL refuses to run as root."""
    return ["runuser", "-u", USER, "--", *words] if os.geteuid() == 0 else list(words)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """The address of a cluster of its own, reached over TCP; stopped and removed afterwards."""
    folder = Path(
        subprocess.run(as_postgres("mktemp", "-d"), capture_output=True, text=True, check=True).stdout.strip()
    )
    port = free_port()
    programs = PROGRAMS[-1]
    run = [str(programs / "initdb"), "-D", str(folder / "data"), "-U", USER, "--auth=trust", "-N"]
    subprocess.run(as_postgres(*run), check=True, capture_output=True, cwd="/")
    control = [str(programs / "pg_ctl"), "-D", str(folder / "data")]
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
    started = [*control, "-l", str(folder / "log"), "-o", options, "-w", "start"]
    subprocess.run(as_postgres(*started), check=True, stdout=subprocess.DEVNULL, cwd="/")
    try:
        yield f"postgresql+psycopg2://{USER}@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run(
            as_postgres(*control, "-m", "immediate", "stop"), check=False, capture_output=True, cwd="/"
        )
        subprocess.run(as_postgres("rm", "-rf", str(folder)), check=False, cwd="/")


class Server:
    """MLflow's server, which can be killed with all its workers and started again at the same address."""

    def __init__(self, database: str, artifacts: Path, *, port: int) -> None:
        self.database, self.artifacts, self.port = database, artifacts, port
        self.uri = f"http://127.0.0.1:{port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        words = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", self.database]
        words += ["--artifacts-destination", self.artifacts.as_uri(), "--workers", "1"]
        words += ["--host", "127.0.0.1", "--port", str(self.port)]
        quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        log = (self.artifacts.parent / "server.log").open("ab")
        self.process = subprocess.Popen(
            words, env={**os.environ, **quiet}, stdout=log, stderr=log, start_new_session=True
        )
        end = time.monotonic() + PATIENCE
        while not self.answers():
            assert self.process.poll() is None, (self.artifacts.parent / "server.log").read_text()[-3000:]
            assert time.monotonic() < end, "the server does not answer"
            time.sleep(0.2)

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def kill(self) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def server(database: str, tmp_path: Path) -> Iterator[Server]:
    server = Server(database, tmp_path / "artifacts", port=free_port())
    server.start()
    yield server
    if server.process is not None and server.process.poll() is None:
        server.kill()


def finished_runs(runs: Path) -> list[Bundle]:
    """Eight finished runs, with training curves long enough for several calls."""
    made = []
    for method in ("sft", "ilrec"):
        for seed in range(4):
            rng = np.random.default_rng(seed)
            made.append(finished_run(runs, method, seed, rng.integers(0, 21, 50).astype(np.int32)))
    return made


def finished_run(runs: Path, method: str, seed: int, ranks: np.ndarray) -> Bundle:
    llm = {"backbone": "tiny", "paradigm": "title"}
    fit = FitSpec(
        method=method,
        method_version=1,
        params={},
        dataset="toy",
        split="cc",
        limit_users=None,
        llm=llm,
        parent=None,
        seed=seed,
    )
    protocol = get_protocol("ilrec").evaluation_part()
    spec = RunSpec(fit=fit, ranker={"name": "exact"}, protocol=protocol)
    staging = bundle.create(runs, spec.id)
    users = np.array([f"u{row}" for row in range(len(ranks))])
    bundle.write_arrays(staging / "ranks.npz", ranks=ranks, users=users)
    bundle.write_json(staging / "metrics.json", summary(ranks, protocol["cutoffs"]))
    bundle.write_json(staging / "efficiency.json", {"seconds": {"fit": 2.0, "rank": 0.5}})
    curve = "".join(f'{{"step": {step}, "loss": {3 - step / 3000}}}\n' for step in range(2500))
    (staging / "train.jsonl").write_text(curve)
    (staging / "log.txt").write_text("fitted\n")
    manifest = Manifest(spec=spec, label=method, digests={"split": "cc"})
    return bundle.load(bundle.finish(staging, manifest, status="complete"))


def stored_points(uri: str, experiment: str) -> dict[str, Counter[tuple[str, int]]]:
    """How often each (metric, step) is stored, by the run's id."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    runs = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    found: dict[str, Counter[tuple[str, int]]] = {}
    for run in [run for run in runs if mlflow_store.RUN_ID in run.data.tags]:
        assert run.data.tags[mlflow_store.RUN_ID] not in found, "a run is stored twice"
        points = [
            (m.key, m.step)
            for name in run.data.metrics
            for m in client.get_metric_history(run.info.run_id, name)
        ]
        found[run.data.tags[mlflow_store.RUN_ID]] = Counter(points)
    return found


def expected_points(made: Sequence[Bundle]) -> dict[str, Counter[tuple[str, int]]]:
    return {
        one.id: Counter(
            [
                *((name, 0) for name in mlflow_values.results(one)),
                *((n, step) for n, _, step in mlflow_values.curves(one.curve())),
            ]
        )
        for one in made
    }


def test_a_server_that_is_killed_in_the_middle_of_a_sync_loses_and_doubles_nothing(
    server: Server, tmp_path: Path
) -> None:
    made = finished_runs(tmp_path / "runs")
    assert mlflow_store.sync(made[:2], uri=server.uri) == 2

    def dying() -> Iterator[Bundle]:
        """The server dies while the fifth run is being logged: after its first thousand numbers."""
        yield from made[:4]
        yield Dying(**vars(made[4]), server=server)
        yield from made[5:]

    with pytest.raises(MissingError, match="took no results") as caught:
        mlflow_store.sync(dying(), uri=server.uri)
    assert "recbench sync" in caught.value.fix
    server.start()
    half = stored_points(server.uri, mlflow_store.EXPERIMENT)[made[4].id]
    assert 0 < half.total() < expected_points(made)[made[4].id].total()
    assert mlflow_store.sync(made, uri=server.uri) == 4  # the fifth to the eighth
    assert stored_points(server.uri, mlflow_store.EXPERIMENT) == expected_points(made)
    assert mlflow_store.sync(made, uri=server.uri) == 0

    fetched = mlflow_store.fetch(tmp_path / "fetched", uri=server.uri)
    board = build.build([bundle.load(folder, record=True) for folder in fetched])
    assert board.to_json() == build.build(made).to_json()


class Dying(Bundle):
    """A run whose upload kills the server between two calls."""

    def __init__(self, *, server: Server, **fields: object) -> None:
        self.__dict__.update(fields, server=server)

    def curve(self) -> list[dict[str, object]]:
        return Curve(super().curve(), self.__dict__["server"])


class Curve(list[dict[str, object]]):
    """Kills the server when a point is read that belongs to the second call."""

    def __init__(self, records: list[dict[str, object]], server: Server) -> None:
        super().__init__(records)
        self.server = server

    def __iter__(self) -> Iterator[dict[str, object]]:
        for line, record in enumerate(super().__iter__()):
            if line == 1500:
                self.server.kill()
            yield record


def test_a_run_that_finishes_while_the_server_is_down_comes_up_with_the_next_sync(
    server: Server, tmp_path: Path
) -> None:
    [one, *_] = finished_runs(tmp_path / "runs")
    server.kill()
    with pytest.raises(MissingError):
        mlflow_store.sync([one], uri=server.uri, experiment="later")
    server.start()
    assert mlflow_store.sync([one], uri=server.uri, experiment="later") == 1
    assert stored_points(server.uri, "later") == expected_points([one])
