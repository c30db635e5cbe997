"""What the machine code of a compiled kernel does in its inner loops: copies in flight and loads, counted."""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass

from triton import knobs

_LABEL = re.compile(r"\s*(\.L_x_\d+):")
_INSTRUCTION = re.compile(r"\s*/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+\s+)?(.*?);")
_BRANCH = re.compile(r"BRA.*?(\.L_x_\d+)")


@dataclass(frozen=True)
class InnerLoop:
    """One iteration of a loop with matrix products, per thread: instructions of each kind.

    tile_copies: asynchronous copies of 16 bytes, keys and values. index_loads: loads and copies of 4 bytes.
    copies_in_flight: groups of copies that the iteration's own wait leaves running. 0: nothing overlaps.
    copy_groups: groups of copies that an iteration starts.
    """

    instructions: int
    matrix_products: int
    tile_copies: int
    index_loads: int
    copies_in_flight: int
    copy_groups: int


def inner_loops(cubin: bytes) -> tuple[InnerLoop, ...]:
    """The innermost loops with matrix products, in the order of the code. Runs the nvdisasm that Triton brings."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [knobs.nvidia.nvdisasm.path, "-c", file.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    code: list[str] = []
    labels: dict[str, int] = {}
    for line in text.splitlines():
        if label := _LABEL.match(line):
            labels[label[1]] = len(code)
        elif instruction := _INSTRUCTION.match(line):
            code.append(instruction[1].strip())
    jumps = [
        (labels[jump[1]], at) for at, line in enumerate(code) if (jump := _BRANCH.match(line)) and jump[1] in labels
    ]
    loops = [(first, last) for first, last in jumps if first <= last]
    inner = [(a, b) for a, b in loops if not any((a, b) != (c, d) and a <= c and d <= b for c, d in loops)]
    counted = [_counted(code[first : last + 1]) for first, last in inner]
    return tuple(loop for loop in counted if loop.matrix_products)


def _counted(body: list[str]) -> InnerLoop:
    waits = [int(found[1], 16) for line in body if (found := re.match(r"DEPBAR\.LE SB\d+, (0x[0-9a-f]+)", line))]
    return InnerLoop(
        instructions=len(body),
        matrix_products=_count(body, r"[HQI]G?MMA"),
        tile_copies=_count(body, r"LDGSTS\S*\.128"),
        index_loads=_count(body, r"LDG\.(?!\S*\.(64|128))") + _count(body, r"LDGSTS(?!\S*\.128)"),
        copies_in_flight=min(waits, default=0),
        copy_groups=_count(body, r"LDGDEPBAR"),
    )


def _count(body: list[str], pattern: str) -> int:
    return sum(re.match(pattern, line) is not None for line in body)
