"""How to cite a board."""

from __future__ import annotations

import re

from recbench.base import digest
from recbench.board.model import Board, Table
from recbench.board.render import text

AUTHORS = "The recbench maintainers"
ARXIV = re.compile(r"arXiv (\d{4}\.\d{4,5})")


def bibtex(table: Table, board: Board) -> str:
    """An entry for the table, and one for each paper whose numbers stand beside ours."""
    records = digest.of_json(dict(board.records))[:12]
    key = re.sub(r"[^A-Za-z0-9]+", "-", f"recbench-{table.dataset}-{table.protocol['name']}").strip("-")
    fields = {
        "title": f"{{recbench leaderboard: {_plain(text.title(table))}}}",
        "author": f"{{{AUTHORS}}}",
        "year": table.finished[:4],
        "note": f"split {_plain(table.split[:12])}, records {records}, made by {_plain(board.command)}",
    }
    papers = {found[1] for row in table.rows if row.printed and (found := ARXIV.search(row.printed.source))}
    entries = [_entry(key, fields)]
    entries += [
        _entry(f"arxiv-{paper}", {"eprint": paper, "archivePrefix": "arXiv"}) for paper in sorted(papers)
    ]
    return f"% The data have a citation of their own: recbench show {_plain(table.dataset)}\n" + "\n".join(
        entries
    )


def _entry(key: str, fields: dict[str, str]) -> str:
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join([f"@misc{{{key},", *lines, "}", ""])


def _plain(plain: str) -> str:
    """Without what BibTeX or TeX would read as a command."""
    return re.sub(r"\s+", " ", re.sub(r"[\\{}%$#&~^_\"]", "-", plain))
