"""SASRec (Kang & McAuley 2018, arXiv 1808.09781) in RecBole's form, trained at every position of a row.

B rows of a batch, N positions of a row (at most the protocol's window), d width, I items, R requests.

Rows are left-aligned: the n-th item of a history has position n - 1 in training and in scoring alike.
Attention looks only back, so no real position sees the padding to the right of a short row; hence there is no
padding item, neither among the inputs nor in the softmax.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import swa_utils

from recbench.base.progress import Reporter
from recbench.data import Examples, Ints, Ragged, TrainingData
from recbench.method import RunContext
from recbench.ranking import rank_by_scores
from recbench.sequential.params import SASREC_VERSION, SASRecParams
from recbench.sequential.randomness import own_randomness, own_threads

WEIGHTS, RECORD = "sasrec.safetensors", "training.json"
LAYER_NORM_EPS = 1e-12
INIT_STD = 0.02


class Block(nn.Module):
    """Causal self-attention and a feed-forward layer, each followed by its residual and a norm."""

    def __init__(self, params: SASRecParams) -> None:
        super().__init__()
        self.heads, self.dropout = params.heads, params.dropout
        self.qkv = nn.Linear(params.dim, 3 * params.dim)
        self.out = nn.Linear(params.dim, params.dim)
        self.attention_norm = nn.LayerNorm(params.dim, eps=LAYER_NORM_EPS)
        self.up = nn.Linear(params.dim, params.inner)
        self.down = nn.Linear(params.inner, params.dim)
        self.norm = nn.LayerNorm(params.dim, eps=LAYER_NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        dropout = self.dropout if self.training else 0.0
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True)
        mixed = self.out(mixed.transpose(1, 2).flatten(2))
        x = self.attention_norm(x + F.dropout(mixed, dropout))
        y: Tensor = self.norm(x + F.dropout(self.down(F.gelu(self.up(x))), dropout))
        return y


class SASRecModel(nn.Module):
    """Self-attention over item and position embeddings; inputs and scores share the item embeddings."""

    def __init__(self, params: SASRecParams, *, num_items: int, history: int) -> None:
        super().__init__()
        self.params, self.num_items, self.history = params, num_items, history
        self.item = nn.Embedding(num_items, params.dim)
        self.position = nn.Embedding(history, params.dim)
        self.norm = nn.LayerNorm(params.dim, eps=LAYER_NORM_EPS)
        self.blocks = nn.ModuleList(Block(params) for _ in range(params.layers))
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=INIT_STD)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def embed(self, items: Tensor) -> Tensor:
        vectors: Tensor = self.item(items)
        return vectors

    def forward(self, inputs: Tensor) -> Tensor:
        """States [B, N, d] after each item of `inputs` [B, N]."""
        x: Tensor = self.norm(self.embed(inputs) + self.position.weight[: inputs.shape[1]])
        x = F.dropout(x, self.params.dropout, training=self.training)
        for block in self.blocks:
            x = block(x)
        return x

    def logits(self, states: Tensor) -> Tensor:
        return F.linear(states, self.item.weight)


class Rows(NamedTuple):
    inputs: Ints  # [rows, N]; 0 where the row has no item
    targets: Ints  # [rows, N]; -1 there, and where another row has the target
    examples: Ints  # [rows, N] the targets numbered by user, then by position in the sequence; -1 likewise


def cut_rows(sequences: Ragged, history: int, rng: np.random.Generator, *, stride: int = 0) -> Rows:
    """Rows of `history` positions that contain every target of every user exactly once.

    A user with at most `history` targets gives one row. A longer sequence gives rows that begin `stride`
    positions after one another, from a random position on, and each row but the first has targets only in its
    last `stride` positions; a `stride` of 0, or above `history`, is `history`. So over the epochs a target is
    learned after contexts of different lengths; the shortest has `history - stride + 1` items, or all items
    before the target where there are fewer.
    """
    stride = min(stride or history, history)
    num_targets = np.maximum(sequences.lengths - 1, 0)
    drawn = rng.integers(stride, size=len(sequences))
    first = np.where(num_targets > history, history - stride + np.where(drawn > 0, drawn, stride), history)
    num_rows = np.where(num_targets > 0, 1 + np.maximum(-(-(num_targets - first) // stride), 0), 0)
    user = np.repeat(np.arange(len(sequences)), num_rows)
    number = np.arange(len(user)) - np.repeat(np.cumsum(num_rows) - num_rows, num_rows)
    end = first[user] + number * stride
    position = np.maximum(end - history, 0)[:, None] + np.arange(history)
    inside = position < np.minimum(end, num_targets[user])[:, None]
    learned = inside & (position >= np.where(number > 0, end - stride, 0)[:, None])
    source = np.where(inside, sequences.offsets[user][:, None] + position, 0)
    example = (np.cumsum(num_targets) - num_targets)[user][:, None] + position
    return Rows(
        inputs=np.where(inside, sequences.values[source], 0),
        targets=np.where(learned, sequences.values[np.where(learned, source + 1, 0)], -1),
        examples=np.where(learned, example, -1),
    )


PositionLoss = Callable[["SASRecModel", Tensor, Tensor, Tensor], Tensor]
"""A mean loss from the model, the states [n, d] of n positions, their targets [n] and their examples [n]."""


def cross_entropy(model: SASRecModel, states: Tensor, targets: Tensor, _examples: Tensor) -> Tensor:
    """Mean cross-entropy over the whole catalogue."""
    return F.cross_entropy(model.logits(states), targets)


def train_sasrec(
    data: TrainingData,
    params: SASRecParams,
    *,
    seed: int,
    report: Reporter,
    threads: int = 0,
    device: str = "cpu",
    build: Callable[[], SASRecModel] | None = None,
    objective: PositionLoss = cross_entropy,
) -> SASRecModel:
    """Minimise `objective`, by default cross-entropy over the whole catalogue, with Adam.

    The weights (with `averaging`: their moving average) are those of the epoch with the best validation
    NDCG@10. `build` makes a variant of the model.

    Equal seeds give equal weights at an equal number of `threads` (0: torch's own choice). torch's random
    state and thread count are restored for the caller.
    """
    with own_threads(threads), own_randomness(seed, device):
        rng = np.random.default_rng(seed)
        model = build() if build else SASRecModel(params, num_items=data.num_items, history=data.history)
        model.to(device)
        step = 1 - params.averaging  # 1 gives the model itself, bit for bit
        average = swa_utils.AveragedModel(model, avg_fn=lambda kept, now, _: torch.lerp(kept, now, step))
        kept = average.module
        assert isinstance(kept, SASRecModel)
        optimizer = torch.optim.Adam(model.parameters(), lr=params.lr, weight_decay=params.weight_decay)
        best, best_epoch, best_state, steps = -1.0, 0, _copy_of(kept), 0
        for epoch in range(1, params.epochs + 1):
            report.progress("training", epoch - 1, params.epochs)
            rows = cut_rows(data.sequences, data.history, rng, stride=params.stride)
            loss, epoch_steps = _train_epoch(model, average, optimizer, objective, rows, params.batch, rng)
            steps += epoch_steps
            ndcg = validation_ndcg(kept, data.valid, data.catalogue.popularity)
            report.log(step=steps, epoch=epoch, loss=loss, valid_ndcg_at_10=ndcg)
            report.count(steps=epoch_steps, trained_tokens=data.num_targets)
            if ndcg > best:
                best, best_epoch, best_state = ndcg, epoch, _copy_of(kept)
            if epoch - best_epoch >= params.patience:
                break
        report.progress("training", params.epochs, params.epochs)
        model.load_state_dict(best_state)
    return model.eval()


def _train_epoch(
    model: SASRecModel,
    average: swa_utils.AveragedModel,
    optimizer: torch.optim.Optimizer,
    objective: PositionLoss,
    rows: Rows,
    batch: int,
    rng: np.random.Generator,
) -> tuple[float, int]:
    """Mean loss over the epoch's targets, and the number of steps."""
    device = model.item.weight.device
    inputs, targets, examples = (torch.from_numpy(part) for part in rows)
    total = torch.zeros((), device=device)
    batches = torch.split(torch.from_numpy(rng.permutation(len(inputs))), batch)
    model.train()
    for chosen in batches:
        width = int((targets[chosen] >= 0).nonzero()[:, 1].max()) + 1
        x, y = inputs[chosen, :width].to(device), targets[chosen, :width].to(device)
        real = y >= 0
        loss = objective(model, model(x)[real], y[real], examples[chosen, :width].to(device)[real])
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
        average.update_parameters(model)
        total += loss.detach() * real.sum()
    return float(total) / max(int((targets >= 0).sum()), 1), len(batches)


def validation_ndcg(model: SASRecModel, valid: Examples, popularity: Ints, *, k: int = 10) -> float:
    """NDCG@k of the one relevant item: 1 / log2(p + 2) at position p (from 0); ties by `recbench.ranking`."""
    gain = 0.0
    for start in range(0, len(valid.target), 1024):
        rows = np.arange(start, min(start + 1024, len(valid.target)))
        requests = valid.requests.take(rows)
        items, _ = rank_by_scores(scores(model, requests.history), popularity, k=k, requests=requests)
        position = np.nonzero(items == valid.target[rows, None])[1]
        gain += float((1 / np.log2(position + 2)).sum())
    return gain / max(len(valid.target), 1)


@torch.inference_mode()
def states(model: SASRecModel, histories: Ragged, *, batch: int = 1024) -> Tensor:
    """The state [R, d] after each history, cut to its last `model.history` items; no history is empty."""
    device = model.item.weight.device
    recent = histories.last(model.history)
    after = torch.empty(len(recent), model.params.dim, device=device)
    model.eval()
    for start in range(0, len(recent), batch):
        rows = [recent[row] for row in range(start, min(start + batch, len(recent)))]
        lengths = torch.tensor([len(row) for row in rows])
        inputs = torch.zeros(len(rows), int(lengths.max()), dtype=torch.int64)
        for row, items in enumerate(rows):
            inputs[row, : len(items)] = torch.from_numpy(items)
        after[start : start + batch] = model(inputs.to(device))[torch.arange(len(rows)), lengths - 1]
    return after


@torch.inference_mode()
def scores(model: SASRecModel, histories: Ragged, *, batch: int = 1024) -> NDArray[np.float32]:
    """Logits [R, I] after each history."""
    return model.logits(states(model, histories, batch=batch)).cpu().numpy()


def save(model: SASRecModel, path: Path) -> None:
    """Weights and shape as safetensors."""
    shape = {"params": asdict(model.params), "num_items": model.num_items, "history": model.history}
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, path, metadata={"sasrec": json.dumps(shape)})


def load(path: Path, *, device: str = "cpu", model: SASRecModel | None = None) -> SASRecModel:
    """The saved model. A variant of SASRecModel is given as an untrained `model`, which takes the weights."""
    with safe_open(path, framework="pt", device=device) as stored:
        shape = json.loads(stored.metadata()["sasrec"])
        state = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118  # not a mapping
    if model is None:
        model = SASRecModel(SASRecParams(**shape.pop("params")), **shape)
    model.to(device).load_state_dict(state)
    return model.eval()


def cf_stage(data: TrainingData, run: RunContext, params: SASRecParams) -> Path:
    """The folder of the SASRec that all fits of this split, seed and parameters share; trained if need be.

    It has the weights and, in `training.json`, the curve and the counts of the training.
    """

    # a class that extends the parameters, as the method does, shares the stage with the parameters alone
    params = SASRecParams(**{name: getattr(params, name) for name in asdict(SASRecParams())})
    seed = run.child_seed("cf")

    def build(folder: Path) -> None:
        record = _Record(run.report)
        model = train_sasrec(data, params, seed=seed, report=record, threads=run.threads, device=run.device)
        save(model, folder / WEIGHTS)
        (folder / RECORD).write_text(json.dumps({"curve": record.curve, "counts": record.counts}))

    spec = {"version": SASREC_VERSION, "split": data.digests["split"], "params": asdict(params), "seed": seed}
    return run.stages.get("sasrec", spec, build)


def fit_shared_sasrec(data: TrainingData, run: RunContext, params: SASRecParams, path: Path) -> None:
    """Copy the shared model's weights to `path`, and report its training curve and cost as this fit's own."""
    stage = cf_stage(data, run, params)
    training = json.loads((stage / RECORD).read_text())
    for point in training["curve"]:
        run.report.log(**point)
    run.report.count(**training["counts"])
    shutil.copyfile(stage / WEIGHTS, path)


def cf_model(data: TrainingData, run: RunContext, params: SASRecParams) -> SASRecModel:
    """The shared SASRec as a model: LLM methods take rewards, item vectors and scores from it."""
    return load(cf_stage(data, run, params) / WEIGHTS, device=run.device)


class _Record:
    """Passes progress on and keeps curve and counts, because a stage outlives the fit that built it."""

    def __init__(self, report: Reporter) -> None:
        self.progress = report.progress
        self.curve: list[dict[str, float | int | str]] = []
        self.counts: dict[str, int] = {}

    def log(self, **values: float | int | str) -> None:
        self.curve.append(values)

    def count(self, **values: int) -> None:
        for name, value in values.items():
            self.counts[name] = self.counts.get(name, 0) + value


def _copy_of(model: nn.Module) -> dict[str, Any]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
