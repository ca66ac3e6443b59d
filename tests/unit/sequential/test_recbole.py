"""RecBole as an oracle for the adapter: its evaluator on the same scores, its rows beside ours."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recbench.data import Ragged, TrainingData
from recbench.dataset import card, split
from recbench.dataset.prepare import prepare
from recbench.errors import UsageError
from recbench.planning.registry import load
from recbench.protocol import get_protocol
from recbench.ranking import rank_by_scores
from recbench.results import metrics
from recbench.results.evaluate import target_ranks
from recbench.sequential import recbole
from recbench.testing import toy_data, toy_run

pytest.importorskip("recbole")

EVALUATOR = """
import json, sys
import numpy as np, torch
from recbench.sequential.recbole import import_recbole
path, = sys.argv[1:]
sys.argv = sys.argv[:1]
import_recbole()
from recbole.config import Config
from recbole.evaluator import Collector, Evaluator
settings = {"metrics": ["NDCG", "Hit"], "topk": [10], "metric_decimal_place": 15, "gpu_id": "",
            "valid_metric": "NDCG@10", "train_neg_sample_args": None}
config = Config(model="GRU4Rec", dataset="ml-100k", config_dict=settings)
with np.load(path) as arrays:
    scores, targets = torch.from_numpy(arrays["scores"]), torch.from_numpy(arrays["targets"])
padded = torch.cat([torch.full((len(scores), 1), -torch.inf), scores], 1)
collector = Collector(config)
collector.eval_batch_collect(padded, None, torch.arange(len(scores)), targets + 1)
print(json.dumps(Evaluator(config).evaluate(collector.get_data_struct())))
"""
ROWS = """
import json, sys
from pathlib import Path
from recbench.sequential import recbole
path, = map(Path, sys.argv[1:])
sys.argv = sys.argv[:1]
recbole.import_recbole()
_, dataset, _ = recbole._build(json.loads(path.read_text()), path.parent)
names = {}
for part, rows in zip(("training", "valid"), dataset.build()):
    feature = rows.inter_feat
    names[part] = [
        [int(dataset.id2token("user_id", int(user))),
         [int(item) for item in dataset.id2token("item_id", seen[:size].numpy())],
         int(dataset.id2token("item_id", int(target)))]
        for user, seen, size, target in zip(feature["user_id"], feature["item_id_list"],
                                            feature["item_length"], feature["item_id"])
    ]
print(json.dumps(names))
"""


def in_a_child(program: str, path: Path) -> Any:
    """What a program says on its last line; RecBole changes NumPy, so it does not run in here."""
    command = [sys.executable, "-W", "ignore", "-c", program, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=path.parent)
    return json.loads(done.stdout.splitlines()[-1])


def our_rows(data: TrainingData) -> dict[str, list[Any]]:
    training = [
        [user, items[max(0, place - data.history) : place].tolist(), int(items[place])]
        for user, items in enumerate(data.sequences)
        for place in range(1, len(items))
    ]
    asked = data.valid
    valid = [
        [int(user), seen.tolist(), int(target)]
        for user, seen, target in zip(
            asked.requests.user, asked.requests.history.last(data.history), asked.target, strict=True
        )
    ]
    return {"training": training, "valid": valid}


def recboles_rows(data: TrainingData, folder: Path) -> dict[str, list[Any]]:
    folder.mkdir()
    run = toy_run(folder / "work")
    return in_a_child(ROWS, recbole._job(folder, "train", "GRU4Rec", {"epochs": 1}, data, run))  # type: ignore[no-any-return]


def test_recbole_learns_our_rows_and_is_validated_on_ours(tmp_path: Path) -> None:
    """Also those of users with a single training item, whom its own leave-one-out treats otherwise, and of
    validation requests that are not the ends of the training sequences."""
    data = toy_data(num_users=12, num_items=15, longest=25)
    short = [row[: 1 + user % 3] if user < 6 else row for user, row in enumerate(data.sequences)]
    asked = data.valid.requests.take(np.array([0, 2, 5, 11]))
    valid = replace(data.valid, requests=asked, target=data.valid.target[[0, 2, 5, 11]])
    data = replace(data, sequences=Ragged.of(short), valid=valid)
    theirs, ours = recboles_rows(data, tmp_path / "job"), our_rows(data)
    assert sorted(theirs["training"]) == sorted(ours["training"])
    assert sorted(theirs["valid"]) == sorted(ours["valid"])


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("learning_rate=0.1", "'learning_rate' is the parameter 'lr' here"),
        ("train_batch_size=9", "'train_batch_size' is the parameter 'batch' here"),
        ("stopping_step=3", "'stopping_step' is the parameter 'patience' here"),
        ("n_layers=1+epochs=2", "'epochs' is the parameter 'epochs' here"),
        ("valid_metric=MRR@10", "'valid_metric' is not a setting of the model\nit is 'NDCG@10' in every run"),
        ("seed=3", "'seed' is not a setting of the model\n--seed decides it"),
        ("MAX_ITEM_LIST_LENGTH=50", "not a setting of the model\nthe protocol decides it"),
    ],
)
def test_a_setting_never_overrides_what_the_record_of_a_run_says(setting: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        load("recbole").build({"settings": tuple(setting.split("+"))})


def test_a_model_keeps_its_own_settings_beside_the_shared_ones() -> None:
    method: Any = load("recbole").build({"lr": 0.01, "settings": ("n_layers=1", "loss_type=BPR")})
    assert method.recbole_settings() == {
        "learning_rate": 0.01,
        "train_batch_size": 2048,
        "weight_decay": 0.0,
        "epochs": 100,
        "stopping_step": 10,
        "n_layers": 1,
        "loss_type": "BPR",
    }


@pytest.fixture(scope="module")
def movies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cache = tmp_path_factory.mktemp("cache")
    found = prepare(card.find("ml-100k", None), get_protocol("ilrec"), cache=cache, data_dir=None)
    return found.folder


@pytest.mark.slow
def test_the_split_of_ml_100k_is_the_same_in_recbole(movies: Path, tmp_path: Path) -> None:
    data = split.load_training(movies)
    theirs, ours = recboles_rows(data, tmp_path / "job"), our_rows(data)
    assert sorted(theirs["training"]) == sorted(ours["training"])
    assert sorted(theirs["valid"]) == sorted(ours["valid"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["gru4rec:epochs=1", "recbole:model=SASRec,epochs=1,settings=n_layers=1+inner_size=64"]
)
def test_our_metrics_equal_recboles_evaluator_on_the_same_scores(
    name: str, movies: Path, tmp_path: Path
) -> None:
    from recbench.base.params import parse_selection

    data, requests = split.load_training(movies), split.load_requests(movies, "test", exclude_seen=False)
    plain, values = parse_selection(name)
    method: Any = load(plain).build(values)
    run = toy_run(tmp_path / "work")
    method.fit(data, run=run)
    model, settings = method.recbole_model(), method.recbole_settings()
    scores = np.concatenate([found for _, found in recbole.scores(model, settings, data, requests, run)])
    targets = split.load_targets(movies, "test")
    np.savez(tmp_path / "scores.npz", scores=scores, targets=targets)
    theirs = in_a_child(EVALUATOR, tmp_path / "scores.npz")
    items, _ = rank_by_scores(scores, data.catalogue.popularity, k=10)
    ours = metrics.summary(target_ranks(items, targets), (10,))
    print(name, theirs, ours)
    assert ours["ndcg@10"] == pytest.approx(theirs["ndcg@10"], abs=1e-9)
    assert ours["hr@10"] == pytest.approx(theirs["hit@10"], abs=1e-9)
