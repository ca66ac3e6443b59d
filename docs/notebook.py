"""Notebooks: run their cells, and show them as a page. The format is JSON; neither needs Jupyter.

python docs/notebook.py docs/tutorials/notebook.ipynb           # runs it and keeps the outputs
python docs/notebook.py docs/tutorials/notebook.ipynb --check   # runs it and compares the texts
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def main() -> int:
    path = Path(sys.argv[1])
    stored = json.loads(path.read_text(encoding="utf-8"))
    fresh = run(stored)
    if "--check" in sys.argv[2:]:
        return int(texts(fresh) != texts(stored))
    path.write_text(json.dumps(fresh, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


def run(notebook: Mapping[str, Any]) -> dict[str, Any]:
    """The notebook with the outputs of its cells, which run one after another in one namespace.

    As Jupyter does, a cell shows what it prints and the value of its last expression; what goes to stderr is
    left out. An exception ends the run.
    """
    space: dict[str, Any] = {"__name__": "__main__"}
    cells, number = [], 0
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            number += 1
            outputs = _outputs("".join(cell["source"]), space, number)
            cell = {**cell, "execution_count": number, "outputs": outputs}
        cells.append(cell)
    return {**notebook, "cells": cells}


def _outputs(source: str, space: dict[str, Any], number: int) -> list[dict[str, Any]]:
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    name = f"<cell {number}>"
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(tree, name, "exec"), space)
        value = None
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), name, "eval"), space)
    outputs: list[dict[str, Any]] = []
    if printed.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": _lines(printed.getvalue())})
    if value is not None:
        data = {"text/plain": _lines(repr(value))}
        if hasattr(value, "_repr_html_"):
            data["text/html"] = _lines(value._repr_html_())
        result = {"output_type": "execute_result", "execution_count": number, "metadata": {}, "data": data}
        outputs.append(result)
    return outputs


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def texts(notebook: Mapping[str, Any]) -> list[list[str]]:
    """What each code cell shows, as text."""
    return [
        ["".join(output.get("text") or output["data"]["text/plain"]) for output in cell["outputs"]]
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
    ]


def as_markdown(notebook: Mapping[str, Any]) -> str:
    """The notebook as a page: its text, its code, and the text of its outputs."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(_fenced("python", source))
        parts += [_fenced("text", text) for text in _shown(cell["outputs"])]
    return "\n\n".join(parts) + "\n"


def _shown(outputs: Sequence[Mapping[str, Any]]) -> list[str]:
    return ["".join(output.get("text") or output["data"]["text/plain"]) for output in outputs]


def _fenced(language: str, text: str) -> str:
    return f"```{language}\n{text.rstrip()}\n```"


if __name__ == "__main__":
    sys.exit(main())
