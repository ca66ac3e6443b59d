"""Small recommenders over item ids, and the adapter to RecBole: public names, imported when first used.

Importing this package imports no torch. A plugin imports these names alone; the modules behind them are
private and may change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from recbench.base.lazy import exporter

if TYPE_CHECKING:
    from recbench.sequential.dros import DROSModel, dros_loss, dros_objective
    from recbench.sequential.followers import transitions
    from recbench.sequential.params import (
        DROS_VERSION,
        SASREC_VERSION,
        DLLM2RecParams,
        DROSParams,
        SASRecParams,
    )
    from recbench.sequential.recbole_method import RecBoleMethod
    from recbench.sequential.recbole_method import check_settings as check_recbole_settings
    from recbench.sequential.sasrec import (
        PositionLoss,
        SASRecModel,
        cf_model,
        fit_shared_sasrec,
        train_sasrec,
    )
    from recbench.sequential.sasrec import load as load_sasrec
    from recbench.sequential.sasrec import save as save_sasrec
    from recbench.sequential.sasrec import scores as sasrec_scores
    from recbench.sequential.sasrec import states as sasrec_states

__all__ = [
    "DROS_VERSION",
    "SASREC_VERSION",
    "DLLM2RecParams",
    "DROSModel",
    "DROSParams",
    "PositionLoss",
    "RecBoleMethod",
    "SASRecModel",
    "SASRecParams",
    "cf_model",
    "check_recbole_settings",
    "dros_loss",
    "dros_objective",
    "fit_shared_sasrec",
    "load_sasrec",
    "sasrec_scores",
    "sasrec_states",
    "save_sasrec",
    "train_sasrec",
    "transitions",
]

_HOMES = {
    # hyperparameters and versions
    "SASRecParams": "params",
    "DROSParams": "params",
    "DLLM2RecParams": "params",
    "SASREC_VERSION": "params",
    "DROS_VERSION": "params",
    # SASRec and what trains, scores and stores it and its variants
    "SASRecModel": "sasrec",
    "PositionLoss": "sasrec",
    "train_sasrec": "sasrec",
    "sasrec_scores": "sasrec:scores",
    "sasrec_states": "sasrec:states",
    "save_sasrec": "sasrec:save",
    "load_sasrec": "sasrec:load",
    # the SASRec that all fits of a split and seed share
    "cf_model": "sasrec",
    "fit_shared_sasrec": "sasrec",
    # DROS
    "DROSModel": "dros",
    "dros_loss": "dros",
    "dros_objective": "dros",
    # which items followed which
    "transitions": "followers",
    # RecBole's sequential models
    "RecBoleMethod": "recbole_method",
    "check_recbole_settings": "recbole_method:check_settings",
}
"""The module of each exported name; `module:attribute` where the module's own name is unclear outside it."""


def __dir__() -> list[str]:
    return __all__


if not TYPE_CHECKING:  # so that type checkers report a name that is not exported
    __getattr__ = exporter(__name__, _HOMES)
