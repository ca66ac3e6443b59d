"""RecBole: its sequential models that need interactions alone (Zhao et al. 2021, arXiv 2011.01731)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from recbench.errors import UsageError
from recbench.sequential import RecBoleMethod, check_recbole_settings


@dataclass(kw_only=True)
class RecBole(RecBoleMethod):
    """A sequential model of RecBole, by name: `recbole:model=NARM,settings=hidden_size=100+n_layers=2`."""

    model: str = "SASRec"
    """RecBole's name of the model, e.g. `NARM`."""
    settings: tuple[str, ...] = ()
    """The model's own settings by RecBole's names, joined by `+`; a list is written `[0.25;0.5]`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_recbole_settings(self.architecture())

    def architecture(self) -> dict[str, Any]:
        return dict(_setting(text) for text in self.settings)


def _setting(text: str) -> tuple[str, Any]:
    """`name=value`, with the value typed as in RecBole's YAML files."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip() or not value.strip():
        raise UsageError(
            f"'{text}' is not of the form name=value", fix="recbole:model=NARM,settings=n_layers=2"
        )
    return name.strip(), _value(value.strip())


def _value(text: str) -> Any:
    if text.startswith("[") and text.endswith("]"):
        return [_value(part.strip()) for part in text[1:-1].split(";")]
    words: dict[str, Any] = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text
