"""What a name or a message may do to a terminal: nothing."""

from __future__ import annotations

import pytest

from recbench.base.words import is_plain, masked, plain


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ilrec\x1b[31m", "ilrec\\x1b[31m"),
        ("a\rb\x08", "a\\x0db\\x08"),
        ("\u202eabc\u2066", "\\u202eabc\\u2066"),
        ("\x9b31m", "\\x9b31m"),  # an escape sequence of one character
        ("lines\nand\ttabs, Ünïcode, 漢字, 🎮", "lines\nand\ttabs, Ünïcode, 漢字, 🎮"),
    ],
)
def test_control_and_bidirectional_characters_are_written_out(text: str, expected: str) -> None:
    assert plain(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://me:secret@db:5432/x", "postgresql://me:***@db:5432/x"),
        (
            "at https://me:p%40ss@h/a?b and http://you:2@[::1]/",
            "at https://me:***@h/a?b and http://you:***@[::1]/",
        ),
        ("http://:secret@h", "http://:***@h"),
        ("http://host:5000/a@b", "http://host:5000/a@b"),
        ("sqlite:////tmp/x.db", "sqlite:////tmp/x.db"),
        ("mail@host", "mail@host"),
    ],
)
def test_passwords_of_addresses_are_masked(text: str, expected: str) -> None:
    assert masked(text) == expected


def test_a_name_of_two_lines_is_not_plain() -> None:
    assert is_plain("ilrec[beta=0.2]")
    assert not is_plain("ilrec\nbest")
    assert not is_plain("ilrec\x1b[1m")
