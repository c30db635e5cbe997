"""What a GGUF file holds: its metadata and where its tensors lie, every figure checked against the file's size.

Reads versions 2 and 3, little-endian (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from treereason.core import UserError
from treereason.core.given_file import MIB, MOST_VALUES, check_regular, file_name, open_regular, readable
from treereason.text import shown

STORED = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 30: ("BF16", 1, 2),
    2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22), 7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34),
    10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210), 20: ("IQ4_NL", 32, 18), 23: ("IQ4_XS", 256, 136),
}  # fmt: skip
"""What values may be stored as, by ggml's number: name, values of a block, bytes of a block."""
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
LARGEST_HEADER_BYTES = 256 * MIB  # that of a vocabulary of 262,144 tokens has about 10 MB
MOST_KEYS = 10_000  # published files have under 100
MOST_TENSORS = 200_000
MOST_DIMENSIONS = 4  # of a tensor in ggml


@dataclass(frozen=True)
class GgufTensor:
    """stored: its name in STORED. shape: in torch's order. start: its first byte in the file."""

    stored: str
    shape: tuple[int, ...]
    start: int
    num_bytes: int


@dataclass(frozen=True)
class GgufFile:
    """metadata: numbers, texts, and lists of these, by key."""

    path: Path
    metadata: dict[str, Any]
    tensors: dict[str, GgufTensor]


def is_gguf(path: Path) -> bool:
    """Whether a path is to be read as a GGUF file: any file is, because other models are folders."""
    return path.is_file() or (path.suffix.lower() == ".gguf" and not path.is_dir())


def read_gguf(path: Path) -> GgufFile:
    """The metadata and the table of tensors; no tensor is read. Raises UserError for what is not such a file."""
    size = check_regular(path)
    with readable(path), open_regular(path) as file:
        try:
            return _Header(file, size).read(path)
        except UserError as error:
            raise UserError(f"{file_name(path)}: {error}") from None
        except (ValueError, struct.error) as error:
            raise UserError(f"{file_name(path)}: is a malformed GGUF file: {error}") from None


class _Header:
    """Reads forward through the head of a file of `size` bytes, and never beyond it."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._left = min(size, LARGEST_HEADER_BYTES)
        self._size = size
        self._at = 0
        self._num_values = 0

    def read(self, path: Path) -> GgufFile:
        if self._size < 24 or self._bytes(4) != b"GGUF":
            raise UserError("is not a GGUF file")
        (version,) = self._unpack("I")
        if version not in (2, 3):
            raise UserError(f"is a GGUF file of version {version}; versions 2 and 3 of little-endian files are read")
        num_tensors, num_keys = self._unpack("QQ")
        for what, number, most in (("tensors", num_tensors, MOST_TENSORS), ("keys", num_keys, MOST_KEYS)):
            if number > most:
                raise ValueError(f"it says that it has {number:,} {what}, and at most {most:,} are read")
        metadata: dict[str, Any] = {}
        for _ in range(num_keys):
            key = self._text()
            if key in metadata:
                raise ValueError(f"it has the key {key[:100]!r} twice")
            (kind,) = self._unpack("I")
            metadata[key] = self._value(kind)
        table = [(self._text(), *self._entry()) for _ in range(num_tensors)]
        alignment = metadata.get("general.alignment", 32)
        if type(alignment) is not int or not 1 <= alignment <= MIB or alignment & (alignment - 1):
            raise ValueError(f"general.alignment={shown(alignment)}: it should be a power of two")
        begin = -(-self._at // alignment) * alignment
        tensors: dict[str, GgufTensor] = {}
        for name, shape, kind, offset in table:
            if name in tensors:
                raise ValueError(f"it has the tensor {name[:100]!r} twice")
            tensors[name] = self._tensor(name, shape, kind, begin + offset)
        return GgufFile(path, metadata, tensors)

    def _entry(self) -> tuple[tuple[int, ...], int, int]:
        """Shape, kind and offset of a tensor."""
        (dimensions,) = self._unpack("I")
        if not 1 <= dimensions <= MOST_DIMENSIONS:
            raise ValueError(f"a tensor has {dimensions:,} dimensions")
        shape = self._unpack(f"{dimensions}Q")
        kind, offset = self._unpack("IQ")
        return tuple(reversed(shape)), kind, offset

    def _tensor(self, name: str, shape: tuple[int, ...], kind: int, start: int) -> GgufTensor:
        where = f"tensor {name[:100]!r}"
        if kind not in STORED:
            served = ", ".join(stored for stored, _, _ in STORED.values())
            raise UserError(f"{where} is stored as ggml's type {kind}, which is not served; served are {served}")
        stored, block, block_bytes = STORED[kind]
        if shape[-1] % block:
            raise ValueError(f"{where} has rows of {shape[-1]:,} values, and {stored} stores {block} together")
        num_bytes = math.prod(shape) // block * block_bytes
        if start + num_bytes > self._size:
            raise UserError(
                f"was cut off: {where} ends at byte {start + num_bytes:,}, and the file has {self._size:,}: "
                "download it again"
            )
        return GgufTensor(stored, shape, start, num_bytes)

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._text()
        if kind in _SCALARS:
            return self._unpack(_SCALARS[kind])[0]
        if kind != _ARRAY:
            raise ValueError(f"a value is of type {kind}, which GGUF does not have")
        inner, count = self._unpack("IQ")
        self._num_values += count
        if self._num_values > MOST_VALUES:
            raise ValueError(f"its metadata has more than {MOST_VALUES:,} values")
        if inner == _STRING:
            return [self._text() for _ in range(count)]
        if inner not in _SCALARS:
            raise ValueError(f"a list holds values of type {inner}")
        return list(self._unpack(f"{count}{_SCALARS[inner]}"))

    def _text(self) -> str:
        (length,) = self._unpack("Q")
        return self._bytes(length).decode()

    def _unpack(self, layout: str) -> tuple[Any, ...]:
        return struct.unpack(f"<{layout}", self._bytes(struct.calcsize(f"<{layout}")))

    def _bytes(self, number: int) -> bytes:
        """The next bytes. Raises UserError where the file ends before."""
        if number > self._left:
            why = "its head is larger than is read" if self._size > LARGEST_HEADER_BYTES else "it was cut off"
            raise UserError(f"is a malformed GGUF file, or {why}: {number:,} bytes should follow byte {self._at:,}")
        content = self._file.read(number)
        if len(content) != number:
            raise UserError("was cut off while it was read")
        self._left -= number
        self._at += number
        return content
