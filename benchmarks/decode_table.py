"""README's tables of decoding on a CPU, from the recorded rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from benchmarks import record
from benchmarks.decode_case import WORKS

SIDES = {
    "openvino": "OpenVINO GenAI",
    "vllm": "vLLM",
    "llama_cpp": "llama.cpp, forked",
    "llama_cpp_q4_1": "llama.cpp, Q4_1",
    "shared_prefill": "transformers, one prefill, cache repeated",
    "sequence": "ours, each branch its own path",
}
MODELS = {"random": "random", "smollm2": "SmolLM2-135M"}
Key = tuple[str, str, str, int, int, str]


def recorded() -> dict[Key, dict[str, Any]]:
    """The last recorded row by (model, work, dtype, threads, busy processes, side)."""
    lines = (record.RESULTS / "decode.jsonl").read_text().splitlines()
    rows = [row for line in lines for row in json.loads(line).get("works", [])]
    return {tuple(row[name] for name in ("model", "work", "dtype", "threads", "busy", "side")): row for row in rows}


def tables() -> str:
    """The table of all works, and that of the works beside busy processes, where there are any."""
    found = recorded()
    return "\n\n".join(table for table in (_works(found), _busy(found)) if table)


def _works(found: Mapping[Key, Mapping[str, Any]]) -> str:
    """Ours in seconds of two threads and CPU seconds of one; the others as multiples of both."""
    lines = [["", "", "treereason", *SIDES.values()]]
    for model, work, dtype in dict.fromkeys(key[:3] for key in found if key[4] == 0):
        cells = [f"{MODELS[model]}, {dtype}", WORKS[work].title]
        cells.append(_pair(found, (model, work, dtype), "tree", "seconds", "cpu_seconds", " s"))
        cells += [_pair(found, (model, work, dtype), side, "over_tree", "cpu_over_tree", "x") for side in SIDES]
        lines.append(cells)
    return _markdown(lines)


def _pair(
    found: Mapping[Key, Mapping[str, Any]], which: tuple[str, str, str], side: str, wall: str, cpu: str, unit: str
) -> str:
    """Of two threads and of one, where both are recorded."""
    values = [
        found[key][name] for key, name in (((*which, 2, 0, side), wall), ((*which, 1, 0, side), cpu)) if key in found
    ]
    return " / ".join(f"{value['median']:.{2 if value['median'] < 10 else 0}f}{unit}" for value in values) or "-"


def _busy(found: Mapping[Key, Mapping[str, Any]]) -> str:
    """A side a line, alone and beside busy processes."""
    ratios = {"over_idle": "over alone", "cpu_over_idle": "CPU over alone", "over_fair": "over its fair share"}
    lines = [["", "", "threads", "alone", "beside busy processes", *ratios.values()]]
    for (model, work, dtype, threads, busy, side), row in found.items():
        if busy:
            name = "treereason" if side == "tree" else SIDES[side]
            alone, beside = (f"{row[name]['median']:.2f} s" for name in ("idle_seconds", "seconds"))
            cells = [name, f"{MODELS[model]}, {dtype}: {WORKS[work].title}", str(threads), alone, f"{beside} ({busy})"]
            lines.append([*cells, *(f"{row[ratio]['median']:.2f}x" for ratio in ratios)])
    return _markdown(lines) if len(lines) > 1 else ""


def _markdown(lines: list[list[str]]) -> str:
    head, *body = ("|" + "".join(f" {cell} |" if cell else " |" for cell in cells) for cells in lines)
    return "\n".join([head, "|" + "---|" * len(lines[0]), *body])
