"""Make docs/recipes.md: what papers and official code say of each method, and what recbench takes.

    python docs/recipes.py            # writes docs/recipes.md
    python docs/recipes.py --check    # 1 if the page is not what the code and docs/recipes.toml make

What the papers say is in docs/recipes.toml; what recbench takes is asked of the code that plans runs.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from recbench.base import params
from recbench.planning.description import Description, describe, of_distribution
from recbench.planning.resolve import Resolved, Selection, resolve, steps_of
from recbench.results.llm_record import ranker_record

TABLE = Path(__file__).with_name("recipes.toml")
PAGE = TABLE.with_suffix(".md")
BACKBONES = {"pretrained": "llama-3.1-8b", "scratch": "tiny"}
"""A backbone of each class."""
ON_VALIDATION = "the recipe that was chosen on validation (docs/from-scratch.md)"
"""Why any train setting differs on a model trained from scratch, where a row gives no other reason."""
NO_LORA = "–"
OWN = ("train", "identifiers", "ranker")


def main() -> int:
    page = render(tables())
    if "--check" in sys.argv[1:]:
        return int(not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page)
    PAGE.write_text(page, encoding="utf-8")
    return 0


def tables() -> dict[str, Any]:
    """The parsed docs/recipes.toml."""
    return tomllib.loads(TABLE.read_text(encoding="utf-8"))


def render(data: Mapping[str, Any]) -> str:
    parts = [data["text"]["intro"]]
    for table in data["table"]:
        if table["method"] == "dpo":  # the control comes between SFT and what it is a control for
            parts.append(data["text"]["control"] + _steps() + data["text"]["measured"])
        parts.append("\n".join(_section(table, data["sources"])) + "\n\n")
    names = ", ".join(f"`{name}`" for name in data["own"])
    parts.append(data["text"]["others"].format(names=names))
    return "".join(parts)


def first_party() -> list[Description]:
    """The methods that come with recbench, by name."""
    return of_distribution(describe("sft").distribution)


def ours(table: Mapping[str, Any], row: Mapping[str, Any], kind: str, **more: str) -> Any:
    """The value that recbench has on a backbone of that class, in the words of the row where it has them."""
    if "ours" in row:
        return row["ours"]
    if kind == "scratch" and row["key"].startswith("train.lora_"):
        return NO_LORA
    return value_of(planned(table, kind, **more), row["key"])


def planned(table: Mapping[str, Any], kind: str, *, preset: str = "", protocol: str = "ilrec") -> Resolved:
    words = [table["with"]] if "with" in table else []
    words += [f"preset={preset}"] if preset else []
    name = ":".join([table["method"], ",".join(words)]) if words else table["method"]
    paradigm = table.get("paradigm", "title")
    selection = Selection(
        method=name, dataset="ml-100k", backbone=BACKBONES[kind], paradigm=paradigm, protocol=protocol
    )
    return resolve(selection)


def value_of(run: Resolved, key: str) -> Any:
    """A parameter, or a setting by its group: `train.lr`."""
    group, dot, name = key.partition(".")
    if run.llm is None or not (dot or key == "ranker"):
        return run.params[key]
    if group == "ranker":
        return ranker_record(run.llm.ranker)[name or "name"]
    assert group in OWN
    return params.resolved(getattr(run.llm, group))[name]


def official(row: Mapping[str, Any]) -> Any:
    """The value to compare with ours, or words."""
    return row.get("value", row["official"])


def reasons(table: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, str | None]:
    """Why our value differs, by class of backbones: absent where it does not, None where nothing says why."""
    kinds = ["pretrained", "scratch"] if is_llm(table) else ["pretrained"]
    found: dict[str, str | None] = {}
    for kind in kinds:
        if ours(table, row, kind) in (official(row), NO_LORA):
            continue
        if kind == "pretrained" or "ours" in row:
            found[kind] = row.get("why")
        else:
            general = ON_VALIDATION if row["key"].startswith("train.") else None
            found[kind] = row.get("scratch") or (row.get("why") if _same(table, row) else general)
    return found


def is_llm(table: Mapping[str, Any]) -> bool:
    return describe(table["method"]).traits.kind == "llm"


def _same(table: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    """Whether both classes have one value, so that one reason is enough."""
    values = [ours(table, row, kind) for kind in BACKBONES]
    return bool(values[0] == values[1])


def _section(table: Mapping[str, Any], sources: Mapping[str, str]) -> Iterator[str]:
    paradigm = f", `{table['paradigm']}`" if "paradigm" in table else ""
    yield f"## {table['method']}{paradigm}\n"
    yield f"{sources[table['source']]}.\n"
    columns = ["pretrained", "scratch"] if is_llm(table) else ["recbench"]
    papers = [name for name in ("ilrec", "soft") if any(name in row for row in table["rows"])]
    titles = {"ilrec": "ILRec", "soft": "SOFT"}
    heads = [
        "setting",
        "official",
        *(titles[name] for name in papers),
        *columns,
        "why not the official value",
    ]
    yield _line(heads)
    yield "|" + "---|" * len(heads)
    for row in table["rows"]:
        place = f" ({row['place']})" if "place" in row else ""
        kinds = ["pretrained", "scratch"] if is_llm(table) else ["pretrained"]
        values = [_text(ours(table, row, kind)) for kind in kinds]
        key = f"`{row['key']}`" if "ours" not in row else row["key"]
        cells = [key, _text(row["official"]) + place, *(_text(row.get(name, "")) for name in papers), *values]
        yield _line([*cells, _why(reasons(table, row))])


def _why(found: Mapping[str, str | None]) -> str:
    texts = {kind: text or "?" for kind, text in found.items()}
    if len(set(texts.values())) == 1 and (len(texts) == 2 or "pretrained" in texts):
        return next(iter(texts.values()))
    return "; ".join(f"{kind}: {text}" if kind == "scratch" else text for kind, text in texts.items())


def _steps() -> str:
    followers = [one for one in first_party() if one.traits.starts_from == "parent" and not one.required]
    names = ["sft-continued", *(one.name for one in followers)]
    names = list(dict.fromkeys(names))
    heads = [f"{kind}, `{protocol}`" for kind in BACKBONES for protocol in ("ilrec", "soft")]
    lines = [_line(["method", *heads]), "|" + "---|" * (1 + len(heads))]
    for name in names:
        cells = [str(num_steps(name, kind, protocol)) for kind in BACKBONES for protocol in ("ilrec", "soft")]
        lines.append(_line([f"`{name}`", *cells]))
    return "\n".join(["", *lines]) + "\n\n"


def num_steps(name: str, kind: str, protocol: str, rows: int = 100_000) -> int:
    return steps_of(planned({"method": name}, kind, protocol=protocol), rows)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)


if __name__ == "__main__":
    raise SystemExit(main())
