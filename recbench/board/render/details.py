"""What is known of a row, for the reader who opens it."""

from __future__ import annotations

from recbench.board.commands import again
from recbench.board.model import BoardRow, Printed, Table
from recbench.board.render.text import difference_line, is_parents
from recbench.results.metrics import metric_name


def details(row: BoardRow, table: Table) -> list[tuple[str, str]]:
    """Term and text, in the order of reading; terms may repeat."""
    parts = next((block.parts for block in table.blocks if block.name == row.block), {})
    command = again(row, table)
    found = [("make again", command)] if command else []
    means = zip(row.run_means, row.seeds, strict=True)
    each = ", ".join(f"{mean:.4f}" + ("" if seed is None else f" (seed {seed})") for mean, seed in means)
    found += [("method", row.label), ("each run", each)]
    if row.checkpoints_only:
        found.append(("holds for", row.scope))
    if row.external:
        found.append(("training", "the ranking was made elsewhere, so nothing is known of it"))
    if row.starts_from is not None:
        found.append(("starts from", row.starts_from))
    found += [(part, value) for part, value in parts.items()]
    found += [
        (f"vs {name}", difference_line(row, name, row.vs[name], table))
        for name in table.references
        if name in row.vs and not is_parents(row, name)
    ]
    if row.printed is not None:
        found.append(("printed", _printed(row.printed)))
    if not row.external:
        found.append(("recipe", f"recbench show {row.method}"))
    found += [("run", f"recbench show {run}") for run in row.runs]
    return found


def _printed(printed: Printed) -> str:
    """The paper's numbers, its gains over its own SFT, and what is known to differ here."""
    values = ", ".join(
        f"{metric_name(name)} {value:.4f}"
        + (f" ({printed.gains[name]:+.4f} over its sft)" if name in printed.gains else "")
        for name, value in printed.values.items()
    )
    differs = f"; ours differs in {', '.join(printed.causes)}" if printed.causes else ""
    return f"{printed.source}, {printed.name}: {values}{differs}"
