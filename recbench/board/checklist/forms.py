"""A checklist as Markdown and as LaTeX that needs only booktabs."""

from __future__ import annotations

from collections.abc import Sequence

from recbench.board.checklist.entries import ChecklistEntry
from recbench.board.render.latex import escaped as in_latex
from recbench.board.render.markdown import escaped as in_markdown
from recbench.board.render.markdown import grid_text

HEAD = ("", "variable", "value")


def markdown(entries: Sequence[ChecklistEntry], title: str) -> str:
    rows = [[topic, entry.variable, entry.value] for topic, entry in _by_topic(entries)]
    return f"**Reproducibility of {in_markdown(title)}**\n\n{grid_text(HEAD, rows)}\n"


def latex(entries: Sequence[ChecklistEntry], title: str) -> str:
    """A `table`, to be taken in with `\\input`; the preamble needs `\\usepackage{booktabs}`."""
    lines: list[str] = []
    for topic, entry in _by_topic(entries):
        lines += [r"\addlinespace"] if topic and lines else []
        cells = [topic, rf"\raggedright {in_latex(entry.variable)}", rf"\raggedright {in_latex(entry.value)}"]
        lines.append(" & ".join(cells) + r" \tabularnewline")
    return "\n".join(
        [
            r"% Needs \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering\footnotesize",
            rf"\caption{{Reproducibility of {in_latex(title)}}}",
            r"\begin{tabular}{lp{.24\linewidth}p{.56\linewidth}}",
            r"\toprule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _by_topic(entries: Sequence[ChecklistEntry]) -> list[tuple[str, ChecklistEntry]]:
    """Each entry with its topic, which stands once."""
    before = ["", *(entry.topic for entry in entries)]
    return [
        ("" if entry.topic == earlier else entry.topic, entry)
        for earlier, entry in zip(before, entries, strict=False)
    ]
