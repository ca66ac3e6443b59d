"""RQ-VAE: semantic ids by a residual-quantised autoencoder, trained as LC-Rec does (arXiv 2311.09049).

B vectors of a batch, I items, L levels, C codes a level, D width of the item vectors, d width of the codes.

Each level passes on r + sg(centre - r), which the next residual subtracts; so later residuals carry no
gradient, and of the commitment terms only that of the first level reaches the encoder. Libraries of vector
quantisation subtract the centre itself (the same loss, other gradients) and have no Sinkhorn assignment.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from recbench.data import Ints
from recbench.sequential.randomness import own_randomness

HIDDEN: Sequence[int] = (2048, 1024, 512, 256, 128, 64)
EPOCHS = 10_000
WIDTH = 32
COMMITMENT = 0.25
SINKHORN_EPSILON, SINKHORN_ROUNDS = 0.003, 50
BATCH, LEARNING_RATE, WEIGHT_DECAY = 1024, 1e-3, 1e-4
WARMUP, MAX_GRAD_NORM = 50, 1.0
"""Epochs in which the learning rate rises, at most a tenth of the training; the norm at which gradients are
clipped."""
KMEANS_ROUNDS = 100
CHECKS = 20
"""Parts of a training. After each part of the second half the collision rate is measured, and the weights
with the lowest rate are kept."""
COLLISION_ROUNDS = 20

Assign = Callable[[Tensor], Tensor]
"""From squared distances [B, C] to codes [B]."""


def nearest(distances: Tensor) -> Tensor:
    """[B] the code of the smallest distance."""
    return distances.argmin(1)


def sinkhorn(distances: Tensor) -> Tensor:
    """Codes [B] that spread a batch over the codes: the largest entry of each row of the transport plan.

    Distances are mapped to [-1, 1]; exp(-d / epsilon) is scaled to equal row and column sums in turn.
    """
    low, high = distances.min(), distances.max()
    middle = (low + high) / 2
    centred = (distances - middle) / (high - middle + 1e-5)
    kernel = torch.exp(-centred.double() / SINKHORN_EPSILON)
    columns = kernel.new_ones(kernel.shape[1])
    for _ in range(SINKHORN_ROUNDS):
        rows = 1 / (kernel @ columns)
        columns = len(columns) / len(rows) / (rows @ kernel)
    return (kernel * columns).argmax(1)


def quantise(
    hidden: Tensor, codebooks: Sequence[Tensor], assign: Sequence[Assign]
) -> tuple[Tensor, Tensor, Tensor]:
    """Codes [B, L], the quantised `hidden` [B, d] (straight-through), and the mean loss of the levels.

    A level's loss: mean((sg(r) - centre)^2) + 0.25 mean((r - sg(centre))^2).
    """
    residual, quantised = hidden, torch.zeros_like(hidden)
    codes, losses = [], []
    for codebook, choose in zip(codebooks, assign, strict=True):
        code = choose(distances_to(residual.detach(), codebook.detach()))
        centre = codebook[code]
        losses.append(
            F.mse_loss(centre, residual.detach()) + COMMITMENT * F.mse_loss(residual, centre.detach())
        )
        passed = residual + (centre - residual).detach()
        residual, quantised = residual - passed, quantised + passed
        codes.append(code)
    return torch.stack(codes, 1), quantised, torch.stack(losses).mean()


def distances_to(points: Tensor, centres: Tensor) -> Tensor:
    """Squared distances [B, C]."""
    return (points**2).sum(1, keepdim=True) + (centres**2).sum(1) - 2 * points @ centres.T


class RQVAE(nn.Module):
    """An encoder to width 32, L codebooks there, and the mirrored decoder."""

    def __init__(self, *, dim: int, hidden: Sequence[int], levels: int, codes: int) -> None:
        super().__init__()
        widths = [dim, *hidden, WIDTH]
        self.encoder = _layers(widths)
        self.decoder = _layers(widths[::-1])
        self.codebooks = nn.ParameterList(torch.zeros(codes, WIDTH) for _ in range(levels))

    def forward(self, vectors: Tensor, assign: Sequence[Assign]) -> tuple[Tensor, Tensor]:
        """The reconstruction [B, D] and the quantisation loss."""
        _, quantised, loss = quantise(self.encoder(vectors), list(self.codebooks), assign)
        return self.decoder(quantised), loss

    @torch.no_grad()
    def start_codebooks(self, vectors: Tensor, *, seed: int) -> None:
        """Set each codebook to the k-means centres of the residuals that earlier levels leave."""
        from sklearn.cluster import KMeans

        residual = self.encoder(vectors)
        for level, codebook in enumerate(self.codebooks):
            points = residual.cpu().numpy()
            number = min(len(codebook), len(np.unique(points, axis=0)))
            kmeans = KMeans(number, n_init=1, max_iter=KMEANS_ROUNDS, random_state=seed + level).fit(points)
            centres = torch.from_numpy(kmeans.cluster_centers_).to(residual)
            # with fewer points than codes, the spare codes repeat the centres
            codebook.copy_(centres[torch.arange(len(codebook)) % number])
            residual = residual - centres[torch.from_numpy(kmeans.labels_).to(residual.device).long()]

    @torch.no_grad()
    def encode(self, vectors: Tensor) -> Tensor:
        """[B, L] the nearest codes."""
        codes, _, _ = quantise(self.encoder(vectors), list(self.codebooks), [nearest] * len(self.codebooks))
        return codes

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """[B, D] the vectors that the codes decode to."""
        levels = [codebook[codes[:, level]] for level, codebook in enumerate(self.codebooks)]
        vectors: Tensor = self.decoder(torch.stack(levels).sum(0))
        return vectors


def _layers(widths: Sequence[int]) -> nn.Sequential:
    """Linear layers with a ReLU between any two; Xavier weights, biases zero."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        linear = nn.Linear(before, after)
        nn.init.xavier_normal_(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@dataclass(frozen=True, slots=True, eq=False)
class Coded:
    """Codes of the items, and the vectors that they decode to."""

    codes: Ints  # [I, L]
    reconstruction: NDArray[np.float32]  # [I, D]


def rqvae_codes(
    vectors: NDArray[np.float32],
    *,
    levels: int,
    codes: int,
    hidden: Sequence[int],
    epochs: int,
    seed: int,
    device: str = "cpu",
) -> Coded:
    """Train an RQ-VAE on these vectors and code them by the checkpoint with the fewest collisions.

    Sinkhorn assigns the last level's codes during training and then, in up to 20 rounds, to items that still
    share all their codes. Items that share them after the best round keep sharing. Equal seeds give equal
    codes.
    """
    # the quantisation loss is weighed against the reconstruction loss for vectors of this scale
    middle, spread = vectors.mean(0), float(vectors.std()) or 1.0
    points = torch.from_numpy((vectors - middle) / spread).to(device)
    with own_randomness(seed, device):
        model = RQVAE(dim=points.shape[1], hidden=hidden, levels=levels, codes=codes).to(device)
        train_rqvae(model, points, epochs=epochs, seed=seed)
        assigned = tell_apart(model, points, model.encode(points))
    return Coded(assigned.cpu().numpy(), model.decode(assigned).cpu().numpy() * spread + middle)


def train_rqvae(model: RQVAE, points: Tensor, *, epochs: int, seed: int) -> None:
    """Train by AdamW, its learning rate rising and then falling; the model ends as the checkpoint with the
    lowest collision rate.

    Only checkpoints of the second half count: k-means codes of an untrained encoder collide little and
    explain nothing.
    """
    assign: list[Assign] = [*[nearest] * (len(model.codebooks) - 1), sinkhorn]
    order = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    per_epoch = -(-len(points) // BATCH)
    share = learning_rate(rise=min(WARMUP, epochs // 10) * per_epoch, steps=epochs * per_epoch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
    best, best_state = float("inf"), copy.deepcopy(model.state_dict())
    for epoch in range(epochs):
        batches = torch.split(torch.randperm(len(points), generator=order).to(points.device), BATCH)
        if epoch == 0:
            model.start_codebooks(points[batches[0]], seed=seed)
        for batch in batches:
            rebuilt, loss = model(points[batch], assign)
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(F.mse_loss(rebuilt, points[batch]) + loss)
            nn.utils.clip_grad_norm_(model.parameters(), MAX_GRAD_NORM)
            optimizer.step()
            schedule.step()
        measured = epoch + 1 > epochs // 2 and (epoch + 1) % max(1, epochs // CHECKS) == 0
        if measured or epoch + 1 == epochs:
            rate = collision_rate(model.encode(points))
            if rate <= best:  # of equal rates the later: its reconstruction is better
                best, best_state = rate, copy.deepcopy(model.state_dict())
    model.load_state_dict(best_state)


def learning_rate(*, rise: int, steps: int) -> Callable[[int], float]:
    """The learning rate of a step as a share of the highest: 0 to 1 in `rise` steps, then down to 0."""

    def share(step: int) -> float:
        return step / rise if step < rise else (steps - step) / max(1, steps - rise)

    return share


def collision_rate(codes: Tensor) -> float:
    """1 - distinct code sequences / items."""
    return 1 - len(torch.unique(codes, dim=0)) / len(codes)


@torch.no_grad()
def tell_apart(model: RQVAE, points: Tensor, codes: Tensor, *, rounds: int = COLLISION_ROUNDS) -> Tensor:
    """[I, L] codes after Sinkhorn gave each group of items with equal codes new last codes.

    Returns the codes of the round with the fewest collisions. Groups are treated one by one, so that new
    codes of one group meet those of another, and the last round can be much worse than the round before it.
    """
    best, best_rate, codes, hidden = codes, collision_rate(codes), codes.clone(), model.encoder(points)
    for _ in range(rounds):
        _, group, size = torch.unique(codes, dim=0, return_inverse=True, return_counts=True)
        shared = torch.nonzero(size > 1).flatten()
        if not len(shared):
            break
        for number in shared:
            members = torch.nonzero(group == number).flatten()
            residual = hidden[members]
            for level, codebook in enumerate(list(model.codebooks)[:-1]):
                residual = residual - codebook[codes[members, level]]
            codes[members, -1] = sinkhorn(distances_to(residual, model.codebooks[-1]))
        if (rate := collision_rate(codes)) < best_rate:
            best, best_rate = codes.clone(), rate
    return best
