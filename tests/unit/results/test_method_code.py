from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from recbench.base.environment import DISTRIBUTION, FORMER
from recbench.errors import DigestError
from recbench.results.method_code import MethodCode, check_same, unknown_note

CODE = MethodCode(distribution="toys", version="1.0", digest="a" * 64, modules=("toys.one",))


def test_the_same_code_in_another_version_commit_or_checkout_is_the_same() -> None:
    assert CODE.is_that_of(replace(CODE, version="1.1", commit="c0ffee", dirty=True))


def test_another_digest_and_another_package_are_other_code() -> None:
    assert not CODE.is_that_of(replace(CODE, digest="b" * 64))
    assert not CODE.is_that_of(replace(CODE, distribution="fork-of-toys"))


def test_recbenchs_package_is_one_under_its_former_name() -> None:
    before, now = replace(CODE, distribution=FORMER), replace(CODE, distribution=DISTRIBUTION)
    assert before.is_that_of(now)
    assert before.key == now.key == (DISTRIBUTION, CODE.digest)
    assert not before.is_that_of(CODE)


def test_the_parents_code_counts_where_both_know_it() -> None:
    child, other = replace(CODE, parent="p" * 64), replace(CODE, parent="q" * 64)
    assert not child.is_that_of(other)
    assert child.is_that_of(CODE)
    assert CODE.is_that_of(other)


def test_runs_of_different_code_are_named_also_behind_one_without_a_record() -> None:
    check_same({"one": None, "two": CODE, "three": CODE})
    with pytest.raises(DigestError, match="runs two and three were made by different code") as caught:
        check_same({"one": None, "two": CODE, "three": replace(CODE, digest="b" * 64)})
    assert caught.value.exit_code == 4
    assert "toys 1.0, code aaaaaaaaaaaa; and toys 1.0, code bbbbbbbbbbbb" in caught.value.why


def test_runs_without_a_record_are_counted_beside_those_with_one() -> None:
    assert unknown_note("noise", [CODE, None, None]) == [
        "2 of 3 runs of noise do not say which code made them"
    ]
    assert unknown_note("noise", [CODE, CODE]) == unknown_note("noise", [None, None]) == []


def test_a_fits_folder_keeps_the_record(tmp_path: Path) -> None:
    assert MethodCode.read(tmp_path) is None
    code = replace(CODE, modules=["toys.one"], commit="c0ffee", dirty=False, engine=3, parent="p" * 64)
    code.write(tmp_path)
    assert MethodCode.read(tmp_path) == code
    (tmp_path / "code.json").write_text("{}")
    assert MethodCode.read(tmp_path) is None
