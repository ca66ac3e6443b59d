from __future__ import annotations

import tomllib

import pytest

from recbench.errors import UsageError
from recbench.submission.study_methods import with_methods


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('methods = ["sft"]\nseeds = 3\n', 'methods = ["sft", "mine:beta=0.5"]\nseeds = 3\n'),
        ("methods = ['sft']\n", "methods = ['sft', \"mine:beta=0.5\"]\n"),
        (
            'seeds = 3\nmethods = [\n  "sft",  # the parent ]\n  "a]b",\n]\n',
            'seeds = 3\nmethods = [\n  "sft",  # the parent ]\n  "a]b", "mine:beta=0.5"]\n',
        ),
    ],
)
def test_methods_come_to_the_end_of_the_list_and_all_else_stays(before: str, after: str) -> None:
    assert with_methods(before, ["mine:beta=0.5"]) == after
    assert tomllib.loads(after)["methods"][-1] == "mine:beta=0.5"
    assert with_methods(before, []) == before


@pytest.mark.parametrize(
    "text",
    [
        'methods = [\n  "sft",  # and no more\n  # of these\n]\n',  # the name would be in the comment
        '"methods" = ["sft"]\n',
    ],
)
def test_a_list_that_is_written_otherwise_is_left_to_its_owner(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        with_methods(text, ["mine"])
    assert "study.toml by hand" in caught.value.fix


def test_names_that_toml_must_quote_come_back_as_they_were() -> None:
    name = 'mine:note="a\\b"'
    assert tomllib.loads(with_methods('methods = ["sft"]', [name]))["methods"] == ["sft", name]
