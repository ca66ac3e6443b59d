"""The runs of MLflow's first view: one for each method, with mean and spread over its seeds, and boards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from recbench.base import digest
from recbench.base.words import plural
from recbench.exchange.mlflow_values import LONGEST_TAG, group_results

PARENT = "mlflow.parentRunId"
NOTE = "mlflow.note.content"
BOARD = "recbench.board"
BOARD_CONTENT = "recbench.board_content"

GROUP = "recbench.group"
VIEW = "recbench"
"""The key of the view that `VIEW_TAG` holds, in the address of MLflow's page."""
VIEW_TAG = (
    f"mlflow.sharedViewState.{VIEW}",
    digest.canonical_json(
        {
            "searchFilter": f"tags.`{GROUP}` LIKE '%'",
            "orderByKey": "metrics.`ndcg_at_10`",
            "orderByAsc": False,
            "selectedColumns": [
                *(f"metrics.`{name}`" for name in ("hr_at_10", "ndcg_at_10", "sd/ndcg_at_10")),
                "metrics.`spent/seconds.total`",
            ],
        }
    ),
)
"""The methods with their means, the best first, in the form that MLflow's pages share views in."""

LogValues = Callable[[str, Mapping[str, float], int], None]
"""Logs values of a run at a step."""


def summarise(client: Any, group: Any, stored: Sequence[Any], name: str, log: LogValues) -> None:
    """Give a group the mean and the standard deviation of its finished children, as metrics at the step that
    is their number, and a name that says how many they are. What it has already is left alone."""
    run_id = group.info.run_id
    children = [
        run for run in stored if run.data.tags.get(PARENT) == run_id and run.info.status == "FINISHED"
    ]
    values = group_results([run.data.metrics for run in children])
    new = {key: value for key, value in values.items() if group.data.metrics.get(key) != value}
    if new:
        log(run_id, new, len(children))
    whole = f"{name} · mean of {plural(len(children), 'seed')}" if len(children) > 1 else name
    if group.info.run_name != whole:
        client.update_run(run_id, name=whole)


def log_board(
    client: Any, experiment: str, folder: Path, names: Sequence[str], stored: Sequence[Any]
) -> bool:
    """Log the files of a board's folder and its text as a note, in place of an earlier one of its name.

    Return whether it was not there yet. A run without the digest of its board is what an interrupted upload
    left.
    """
    content = digest.of_file(folder / "board.json")
    earlier = [run for run in stored if run.data.tags.get(BOARD) == folder.name]
    if any(run.data.tags.get(BOARD_CONTENT) == content for run in earlier):
        return False
    note = _note((folder / "board.md").read_text(encoding="utf-8"))
    tags = {BOARD: folder.name, NOTE: note}
    run_id = client.create_run(experiment, tags=tags, run_name=f"board {folder.name}").info.run_id
    for name in names:
        if (folder / name).is_file():
            client.log_artifact(run_id, str(folder / name), None)
    client.set_tag(run_id, BOARD_CONTENT, content)
    client.set_terminated(run_id)
    for run in earlier:
        client.delete_run(run.info.run_id)
    return True


def _note(text: str) -> str:
    """As many whole lines as a tag holds."""
    return text if len(text) <= LONGEST_TAG else text[:LONGEST_TAG].rpartition("\n")[0]
