"""What the safetensors files of a checkpoint hold, read off their headers alone, every figure checked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from treereason.core import UserError
from treereason.core.given_file import (
    MIB,
    check_regular,
    file_name,
    open_regular,
    parse_json,
    read_json_object,
    readable,
)

LONGEST_FILE_NAME = 255
LARGEST_HEADER_BYTES = 32 * MIB  # of about 200,000 tensors; of an index, too
MOST_DIMENSIONS = 64  # of a tensor in torch
BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16,
    "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4, "C64": 64,
    "I64": 64, "U64": 64, "I32": 32, "U32": 32, "I16": 16, "U16": 16, "I8": 8, "U8": 8, "BOOL": 8,
}  # fmt: skip
"""Bits of a value by the name of its dtype in safetensors."""


@dataclass(frozen=True)
class StoredTensor:
    """dtype: its name in safetensors."""

    dtype: str
    shape: tuple[int, ...]
    file: Path

    @property
    def num_values(self) -> int:
        return math.prod(self.shape)

    @property
    def num_bytes(self) -> int:
        return -(-self.num_values * BITS[self.dtype] // 8)


def stored_tensors(folder: Path) -> dict[str, StoredTensor]:
    """All tensors of a checkpoint by name. Raises UserError for missing or broken files, and a name in two of them."""
    found: dict[str, StoredTensor] = {}
    for path in _files(folder):
        for name, tensor in _read(path).items():
            if name in found:
                raise UserError(f"{file_name(path)}: the tensor {name[:100]!r} is in {found[name].file.name} too")
            found[name] = tensor
    return found


def _files(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    with readable(index):
        if not index.exists():
            return [folder / "model.safetensors"]
    weight_map = read_json_object(index, LARGEST_HEADER_BYTES).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map or not all(isinstance(f, str) for f in weight_map.values()):
        raise UserError(f"{file_name(index)}: has no weight_map from tensors to files: it is broken")
    names = sorted(set(weight_map.values()))
    for name in names:
        if Path(name).name != name or name == ".." or len(name) > LONGEST_FILE_NAME:
            raise UserError(f"{file_name(index)}: its weight_map names {name[:100]!r}, which is not beside it")
    return [folder / name for name in names]


def _read(path: Path) -> dict[str, StoredTensor]:
    with readable(path):
        if not path.exists():
            raise UserError(f"{file_name(path)}: no such file; weights are read from safetensors only")
    total = check_regular(path)
    with readable(path), open_regular(path) as file:
        size = int.from_bytes(file.read(8) or b"", "little")
        if size > LARGEST_HEADER_BYTES and size <= total - 8:
            raise UserError(f"{file_name(path)}: a header of {size:,} bytes; at most {LARGEST_HEADER_BYTES:,} are read")
        content = (file.read(size) or b"") if 0 < size <= total - 8 else b""
    try:
        header = parse_json(content)
        if not isinstance(header, dict):
            raise ValueError("its header is not an object")
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        found = {name: (_tensor(name, entry, path), entry["data_offsets"]) for name, entry in entries.items()}
        end = _end(found)
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{file_name(path)}: is not a safetensors file, or was cut off: {error}") from None
    if (end := 8 + size + end) > total:
        raise UserError(f"{file_name(path)}: is cut off: {total:,} bytes of {end:,}")
    return {name: tensor for name, (tensor, _) in found.items()}


def _tensor(name: str, entry: Any, path: Path) -> StoredTensor:
    """Raises ValueError."""
    where = f"tensor {name[:100]!r}"
    if not isinstance(entry, dict):
        raise ValueError(f"{where} is not an object")
    dtype: Any = entry.get("dtype")
    shape: Any = entry.get("shape")
    offsets: Any = entry.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in BITS:
        raise ValueError(f"{where} has no dtype that is known")
    if not _naturals(shape) or len(shape) > MOST_DIMENSIONS:
        raise ValueError(f"{where} has no shape")
    if not _naturals(offsets) or len(offsets) != 2:
        raise ValueError(f"{where} has no data_offsets")
    return StoredTensor(dtype, tuple(shape), path)


def _naturals(value: Any) -> bool:
    return isinstance(value, list) and all(type(number) is int and 0 <= number < 2**63 for number in value)


def _end(found: dict[str, tuple[StoredTensor, list[int]]]) -> int:
    """Where the last tensor ends, which begin where the one before ends. Raises ValueError."""
    at = 0
    for name, (tensor, (start, end)) in sorted(found.items(), key=lambda item: item[1][1]):
        if start != at:
            raise ValueError(f"tensor {name[:100]!r} begins at byte {start:,}, not at {at:,} where the one before ends")
        if end - start != tensor.num_bytes:
            raise ValueError(f"tensor {name[:100]!r} has {end - start:,} bytes, its shape {tensor.num_bytes:,}")
        at = end
    return at
