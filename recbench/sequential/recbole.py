"""RecBole's sequential models on our split: trained and scored in a child process, ranked and measured here.

RecBole 1.2.1 sets NumPy names that no longer exist, seeds the whole process, sets CUDA_VISIBLE_DEVICES, reads
`sys.argv`, and writes logs into the current folder. All this happens in
`python -m recbench.sequential.recbole JOB`, whose current folder is temporary. Its checkpoints are pickles of
its configuration; here the best weights are kept in memory and saved as safetensors. `recbole.quick_start`,
which needs ray, is not imported.

R requests, I items, N items of the protocol's window. RecBole has its own item numbers, with item 0 for
padding; both stay in the child.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from recbench.base.environment import install
from recbench.data import Ragged, Requests, TrainingData, arrays_of, ragged_from
from recbench.errors import MissingError, RecbenchError, UsageError, unknown_name
from recbench.method import RunContext

WEIGHTS = "recbole.safetensors"
INSTALL = f"{install('baselines')}, and pip install --no-deps recbole==1.2.1 where that leaves it out"
Tell = Callable[..., None]
CHUNK = 1024
"""Requests that are scored together: the rows of one file of scores."""
FIXED: Mapping[str, Any] = {
    "USER_ID_FIELD": "user_id",
    "ITEM_ID_FIELD": "item_id",
    "TIME_FIELD": "place",
    "LIST_SUFFIX": "_list",
    "ITEM_LIST_LENGTH_FIELD": "item_length",
    "load_col": {"inter": ["user_id", "item_id", "place"], "item": ["item_id"]},
    "eval_args": {"split": {"LS": "valid_only"}, "order": "TO", "group_by": "user", "mode": "full"},
    "metrics": ["NDCG", "Hit"],
    "topk": [10],
    "valid_metric": "NDCG@10",
    "metric_decimal_place": 12,  # by default it rounds to four, and so selects by rounded numbers
    "eval_batch_size": CHUNK,
    "reproducibility": True,
    "show_progress": False,
    "state": "WARNING",
    "worker": 0,
}


# ---- in the worker


def sequential_models() -> list[str]:
    """The models of the installed RecBole, read from its sources; importing it would import torch."""
    package = importlib.util.find_spec("recbole")
    if package is None or package.origin is None:
        raise MissingError("RecBole is not installed", why="this method is RecBole's", fix=INSTALL)
    return _sequential_models(Path(package.origin).parent / "model" / "sequential_recommender")


@lru_cache(maxsize=1)
def _sequential_models(folder: Path) -> list[str]:
    """Read once for all runs of a study."""
    pattern = re.compile(r"^class (\w+)\(SequentialRecommender\)", re.MULTILINE)
    return sorted(name for file in folder.glob("*.py") for name in pattern.findall(file.read_text("utf-8")))


def check_model(name: str) -> None:
    """MissingError where RecBole is not installed, UsageError where it has no such sequential model."""
    models = sequential_models()
    if name not in models:
        raise unknown_name("sequential model of RecBole", name, models, fix="-m recbole:model=NARM")


def train(model: str, settings: Mapping[str, Any], data: TrainingData, run: RunContext) -> None:
    """Train in a child and leave the weights of the best validation epoch in `run.workdir`.

    `settings` are RecBole's own, by its names.
    """
    with tempfile.TemporaryDirectory(prefix="recbole-") as name:
        job = _job(Path(name), "train", model, settings, data, run)
        for event in _events(job, model, run):
            if event["event"] == "epoch":
                run.report.progress("training", event["epoch"], settings["epochs"])
                run.report.log(**{key: event[key] for key in ("step", "epoch", "loss", "valid_ndcg_at_10")})
                run.report.count(steps=event["steps"], trained_tokens=data.num_targets)
        run.report.progress("training", settings["epochs"], settings["epochs"])


def scores(
    model: str, settings: Mapping[str, Any], data: TrainingData, requests: Requests, run: RunContext
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Rows of `requests` and their scores [rows, I], chunk by chunk, by the weights in `run.workdir`."""
    with tempfile.TemporaryDirectory(prefix="recbole-") as name:
        folder = Path(name)
        asked: dict[str, Any] = {"user": requests.user, **arrays_of(requests.history, "history")}
        np.savez(folder / "requests.npz", **asked)
        job = _job(folder, "score", model, settings, data, run)
        for event in _events(job, model, run):
            if event["event"] == "scores":
                file = folder / event["file"]
                values = np.load(file, allow_pickle=False)
                file.unlink()
                yield np.arange(event["first"], event["first"] + len(values)), values


def _job(
    folder: Path, task: str, model: str, settings: Mapping[str, Any], data: TrainingData, run: RunContext
) -> Path:
    """Write everything that the child needs into `folder`; the path of the job's description."""
    arrays: dict[str, Any] = {
        **arrays_of(data.sequences, "sequences"),
        **arrays_of(data.valid.requests.history, "history"),
        "user": data.valid.requests.user,
        "target": data.valid.target,
    }
    np.savez(folder / "data.npz", **arrays)
    job = {
        "task": task,
        "model": model,
        "settings": {**settings, "MAX_ITEM_LIST_LENGTH": data.history, "seed": run.child_seed("init")},
        "num_items": data.num_items,
        "weights": str((run.workdir / WEIGHTS).resolve()),
        "device": run.device,
        "threads": run.threads,
    }
    (folder / "job.json").write_text(json.dumps(job))
    return folder / "job.json"


def _events(job: Path, model: str, run: RunContext) -> Iterator[dict[str, Any]]:
    """The child's events, one for each line it writes; the child ends when this iterator does."""
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    if run.threads:
        environment |= {"OMP_NUM_THREADS": str(run.threads), "MKL_NUM_THREADS": str(run.threads)}
    child = subprocess.Popen(
        [*run.module_command, "recbench.sequential.recbole", str(job)],
        stdout=subprocess.PIPE,
        cwd=job.parent,
        env=environment,
        text=True,
    )
    assert child.stdout is not None
    try:
        for line in child.stdout:
            event = json.loads(line)
            if event["event"] == "failed":
                raise _failure(model, event)
            yield event
        if child.wait() != 0:
            raise RecbenchError(f"RecBole's process for {model} ended with exit code {child.returncode}")
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def _failure(model: str, event: Mapping[str, Any]) -> RecbenchError:
    if event["stage"] == "import":
        return MissingError("RecBole cannot be imported", why=event["why"], fix=INSTALL)
    if event["stage"] == "build":
        return UsageError(
            f"RecBole's {model} cannot be set up on interactions alone, or not with these settings",
            why=event["why"],
        )
    return RecbenchError(f"RecBole's {model} failed", why=event["why"])


# ---- in the child


def import_recbole() -> None:
    """Import the needed parts of RecBole 1.2.1, after restoring the NumPy names that it uses."""
    for name, now in (("float_", "float64"), ("complex_", "complex128"), ("unicode_", "str_")):
        if not hasattr(np, name):
            setattr(np, name, getattr(np, now))
    for part in ("config", "data", "utils"):
        import_module(f"recbole.{part}")


def main(path: Path, lines: TextIO) -> int:
    """Do a job and report it in JSON lines; a failure is a line too."""

    def tell(event: str, **values: Any) -> None:
        print(json.dumps({"event": event, **values}), file=lines, flush=True)

    job = json.loads(path.read_text())
    sys.argv = sys.argv[:1]  # RecBole would take our arguments for its own
    stage = "import"
    try:
        import_recbole()
        stage = "build"
        config, dataset, model = _build(job, path.parent)
        stage = "run"
        {"train": _train, "score": _score}[job["task"]](job, path.parent, config, dataset, model, tell)
    except Exception as error:
        traceback.print_exc()
        tell("failed", stage=stage, why=f"{type(error).__name__}: {error}")
        return 1
    return 0


def _build(job: Mapping[str, Any], folder: Path) -> tuple[Any, Any, Any]:
    """RecBole's configuration, dataset and model of a job."""
    import torch
    from recbole.config import Config
    from recbole.data.transform import construct_transform
    from recbole.utils import get_model, init_seed

    if job["threads"]:
        torch.set_num_threads(job["threads"])
    settings = {**FIXED, **job["settings"]}
    on_gpu = job["device"].startswith("cuda")
    # it sets CUDA_VISIBLE_DEVICES to this; the worker's device is the first that the worker sees
    settings["gpu_id"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0] if on_gpu else ""
    settings |= {"data_path": str(folder), "checkpoint_dir": str(folder / "saved")}
    with np.load(folder / "data.npz", allow_pickle=False) as arrays:
        data = dict(arrays)
    _write_files(folder / "split", ragged_from(data, "sequences"), job["num_items"])
    if _takes_cross_entropy(job["model"], settings):
        settings["train_neg_sample_args"] = None
    config = Config(model=job["model"], dataset="split", config_dict=settings)
    init_seed(config["seed"], config["reproducibility"])
    dataset = _dataset(config, data, job["num_items"])
    construct_transform(config)  # a masking model asks the configuration for the names that this enters
    init_seed(config["seed"], config["reproducibility"])
    return config, dataset, get_model(job["model"])(config, dataset).to(config["device"])


def _takes_cross_entropy(model: str, settings: Mapping[str, Any]) -> bool:
    """Whether the loss is over all items; RecBole refuses that together with its default of one negative."""
    import recbole
    import yaml

    assert recbole.__file__ is not None
    defaults = Path(recbole.__file__).parent / "properties" / "model" / f"{model}.yaml"
    chosen: Mapping[str, Any] = (
        (yaml.safe_load(defaults.read_text("utf-8")) or {}) if defaults.exists() else {}
    )
    loss: str | None = settings.get("loss_type", chosen.get("loss_type"))
    return loss == "CE"


def _write_files(folder: Path, sequences: Ragged, num_items: int) -> None:
    """RecBole's files of the training items; the item file numbers also the items that no user chose."""
    folder.mkdir()
    (folder / "split.item").write_text("item_id:token\n" + "".join(f"{item}\n" for item in range(num_items)))
    with (folder / "split.inter").open("w") as stream:
        stream.write("user_id:token\titem_id:token\tplace:float\n")
        for user, items in enumerate(sequences):
            stream.writelines(f"{user}\t{item}\t{place}\n" for place, item in enumerate(items))


def _dataset(config: Any, arrays: Mapping[str, Any], num_items: int) -> Any:
    """RecBole's dataset: every training target with its history, and our validation requests.

    Its own leave-one-out moves the validation target of a user with a single training item into training. A
    split made elsewhere ("benchmark files") cannot be read with pandas 3.
    """
    import torch
    from recbole.data.dataset import SequentialDataset
    from recbole.data.interaction import Interaction

    class Split(SequentialDataset):  # type: ignore[misc]  # RecBole has no type information
        def build(self) -> list[Any]:
            self._change_feat_format()  # which also makes a row of every training target
            histories = ragged_from(arrays, "history")
            asked = _batch(self, arrays["user"], histories, num_items, config["MAX_ITEM_LIST_LENGTH"])
            target = torch.from_numpy(_numbers(self, num_items)[arrays["target"]])
            valid = self.copy(Interaction({**asked, "item_id": target}))
            return [self.copy(self.inter_feat), valid, valid]  # the third part is for test targets

    return Split(config)


def _numbers(dataset: Any, num_items: int) -> NDArray[np.int64]:
    """[I] RecBole's number of each item."""
    return np.array(dataset.token2id("item_id", [str(item) for item in range(num_items)]), dtype=np.int64)


def _batch(
    dataset: Any, users: NDArray[np.int64], histories: Ragged, num_items: int, width: int
) -> dict[str, Any]:
    """Requests under RecBole's names and numbers; a user without training items is its user 0."""
    import torch

    items, recent = _numbers(dataset, num_items), histories.last(width)
    lists = torch.zeros(len(recent), width, dtype=torch.int64)
    for row, seen in enumerate(recent):
        lists[row, : len(seen)] = torch.from_numpy(items[seen])
    known = dataset.field2token_id["user_id"]
    return {
        "user_id": torch.tensor([known.get(str(user), 0) for user in users]),
        "item_id_list": lists,
        "item_length": torch.from_numpy(recent.lengths),
    }


def _train(job: Mapping[str, Any], _: Path, config: Any, dataset: Any, model: Any, tell: Tell) -> None:
    from recbole.data import data_preparation
    from recbole.utils import get_trainer
    from safetensors.torch import save_file

    training, valid, _ = data_preparation(config, dataset)
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    best: dict[str, Any] = {}

    def keep(*_args: object, **_options: object) -> None:
        best.update({name: value.detach().cpu().clone() for name, value in model.state_dict().items()})

    def say(epoch: int, ndcg: float) -> None:
        tell(
            "epoch",
            epoch=epoch + 1,
            step=(epoch + 1) * len(training),
            steps=len(training),
            loss=trainer.train_loss_dict[epoch] / len(training),
            valid_ndcg_at_10=float(ndcg),
        )

    trainer._save_checkpoint = keep  # instead of a pickle
    trainer.fit(training, valid, verbose=False, saved=True, show_progress=False, callback_fn=say)
    save_file({name: value.contiguous() for name, value in best.items()}, job["weights"])


def _score(job: Mapping[str, Any], folder: Path, config: Any, dataset: Any, model: Any, tell: Tell) -> None:
    import torch
    from recbole.data.interaction import Interaction
    from safetensors.torch import load_file

    model.load_state_dict(load_file(job["weights"]))
    model.eval()
    with np.load(folder / "requests.npz", allow_pickle=False) as arrays:
        users, histories = arrays["user"], ragged_from(arrays, "history")
    items = _numbers(dataset, job["num_items"])
    for first in range(0, len(users), CHUNK):
        rows = np.arange(first, min(first + CHUNK, len(users)))
        window = config["MAX_ITEM_LIST_LENGTH"]
        batch = _batch(dataset, users[rows], histories.take(rows), job["num_items"], window)
        with torch.no_grad():
            values = model.full_sort_predict(Interaction(batch).to(config["device"]))
        file = f"scores-{first}.npy"
        np.save(folder / file, values.view(len(rows), -1).float().cpu().numpy()[:, items])
        tell("scores", file=file, first=first)


if __name__ == "__main__":
    lines, sys.stdout = sys.stdout, sys.stderr  # RecBole's own prints must not come between our lines
    sys.exit(main(Path(sys.argv[1]), lines))
