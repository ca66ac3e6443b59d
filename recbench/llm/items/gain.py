"""What the first code of an item says about the next item, before any training.

U users, C codes.
"""

from __future__ import annotations

import numpy as np

from recbench.data import Examples, Ints, Ragged


def predictive_gain(first: Ints, sequences: Ragged, valid: Examples) -> float:
    """Mean over validation of log p(b | a) - log p(b), in nats.

    a and b are the codes `first` [I] of a user's last training item and of the validation target. Both
    probabilities are counts of the transitions between consecutive training items, plus one for each of the C
    codes in use. A user without training items counts nothing; without any validation user the gain is 0.
    """
    used, code = np.unique(first, return_inverse=True)
    last = np.delete(np.arange(len(sequences.values)), sequences.offsets[:-1][sequences.lengths > 0])
    counts = np.ones((len(used), len(used)))
    np.add.at(counts, (code[sequences.values[last - 1]], code[sequences.values[last]]), 1)
    seen = valid.requests.history.lengths > 0
    before = code[valid.requests.history.last(1).values]
    target = code[valid.target[seen]]
    if not len(target):
        return 0.0
    bigram = counts[before, target] / counts[before].sum(1)
    unigram = (counts.sum(0) - len(used) + 1) / (counts.sum() - len(used) ** 2 + len(used))
    return float(np.mean(np.log(bigram) - np.log(unigram[target])))
