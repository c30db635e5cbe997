"""Tree attention on the shapes that searches make, every provider beside the floor.

    python -m benchmarks.tree_attention [--data DIR | --fasttree] [--heads 32/8] [--seconds 240] [--record]

One line per (shape, heads, provider): p20 / p50 / p80 microseconds of a call, the share of the floor
(max of bytes over bandwidth and arithmetic over rate), bytes, and planning. Then a table of medians. The last line is
JSON, or with --record the file that has it. On a CPU it runs the torch backend and dense attention only, on the smaller
shapes: a check of the plumbing, not of a kernel. Exit code 1 when a Triton kernel of ours failed or was wrong.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import fasttree_trees
from benchmarks.attention_cases import Case, cases, fasttree_cases, heads_of
from benchmarks.attention_table import table
from benchmarks.forests import PAGE
from benchmarks.peers import Peer, peers
from benchmarks.plan_paths import row_slots
from benchmarks.planning import microseconds
from benchmarks.record import finish
from treereason.engine.steps.cuda_capture import TorchIsBroken, cuda_capture
from treereason.kernels.layer import LayerShape
from treereason.kernels.options import AttentionOptions
from treereason.kernels.plan import Plan, kv_pool
from treereason.kernels.providers import TRITON, prepare
from treereason.kernels.tools.traffic import Traffic, floor_seconds, groups_traffic, work_traffic

HEADS = ((32, 8), (32, 32), (64, 8), (16, 1))
# Datasheet bytes per second and dense 16-bit operations per second.
DEVICES = {
    "H100": (3.35e12, 989e12),
    "H200": (4.8e12, 989e12),
    "A100": (2.0e12, 312e12),
    "MI300X": (5.3e12, 1307e12),
}
_NAME = 56  # columns of a case's name
Tensors = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def tensors(plan: Plan, shape: LayerShape, device: str) -> Tensors:
    """Random q [N, Hq, D] and pools k, v [num_slots, Hkv, D]."""
    generator = torch.Generator(device).manual_seed(0)
    slots = (int(plan.pages.max()) + 1) * plan.page_size
    k, v = (kv_pool(slots, shape.num_kv_heads, shape.head_dim, dtype=shape.dtype, device=device) for _ in range(2))
    for pool in (k, v):
        pool.normal_(generator=generator)
    q = torch.randn(
        plan.num_rows, shape.num_heads, shape.head_dim, device=device, dtype=shape.dtype, generator=generator
    )
    return q, k, v


def by_definition(plan: Plan, rows: list[int], data: Tensors, scale: float) -> torch.Tensor:
    """Attention of some rows, each over its own tokens: [rows, Hq, D] float32."""
    q, k, v = data
    outs = []
    for row in rows:
        slots = torch.from_numpy(row_slots(plan, row)).long().to(q.device)
        queries = q[row].float().view(k.shape[1], -1, q.shape[2])  # [Hkv, G, D]
        weights = (torch.einsum("hgd,thd->hgt", queries, k[slots].float()) * scale).softmax(dim=-1)
        outs.append(torch.einsum("hgt,thd->hgd", weights, v[slots].float()).flatten(0, 1))
    return torch.stack(outs)


def percentiles(run: Callable[[], object], device: str, repeats: int) -> dict[str, float | bool]:
    """p20, p50, p80 in microseconds; on a GPU from a captured graph, the cache flushed before every call.

    The flush hides what the host does for a replay; where `captured` is false, not all that it does for the launches.
    """
    run()
    times = []
    replay = None
    if device != "cuda":
        for _ in range(repeats):
            begin = time.perf_counter()
            run()
            times.append((time.perf_counter() - begin) * 1e6)
    else:
        replay = _captured(run)
        flush = torch.empty(256 << 20, dtype=torch.uint8, device=device)
        for _ in range(repeats):
            flush.zero_()
            begin_event, end_event = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            begin_event.record()
            (replay or run)()
            end_event.record()
            torch.cuda.synchronize()
            times.append(begin_event.elapsed_time(end_event) * 1e3)
    p20, p50, p80 = np.percentile(times, (20, 50, 80))
    return {"p20": float(p20), "p50": float(p50), "p80": float(p80), "captured": replay is not None}


def _captured(run: Callable[[], object]) -> Callable[[], object] | None:
    """The call as a graph, where it can be captured: launches from Python would hide a small kernel."""

    def body() -> None:
        run()

    try:
        return cuda_capture(torch.device("cuda"))(body)
    except TorchIsBroken:
        raise
    except Exception:
        return None


def traffic_of(planned: Any, plan: Plan, shape: LayerShape, programs: int) -> Traffic | None:
    """Bytes a planned provider moves per call; None where they are not counted. programs: how many run at once."""
    if hasattr(planned, "groups"):
        return groups_traffic(plan, planned.groups, shape, programs=programs)
    if hasattr(planned, "work"):
        return work_traffic(planned.work.host[None], shape, programs=programs)
    return None


def measure(
    name: str,
    peer: Peer | None,
    case: Case,
    plan: Plan,
    shape: LayerShape,
    data: Tensors,
    rows: list[int],
    want: torch.Tensor,
    device: str,
    repeats: int,
) -> dict[str, Any]:
    """One row of the result, times in microseconds; ValueError when `rows` of the output are not what `want` says.

    peer: whose name it is, None for a provider of this project.
    """
    q, k, v = data
    scale = shape.head_dim**-0.5
    options = AttentionOptions(scale)
    begin = time.perf_counter()
    if peer is not None and peer.missing:
        raise ValueError(peer.missing)
    planned: Any = prepare(name, plan, q, k) if peer is None else peer.prepare(plan, q, k, v, scale)

    def run() -> torch.Tensor:
        out: torch.Tensor = planned(q, k, v, options)[0] if peer is None else planned()
        return out

    prepared = (time.perf_counter() - begin) * 1e6
    out = run()
    error = float((out[rows].float() - want).abs().max() / want.abs().max())
    if not error < 2e-2:
        raise ValueError(f"wrong by {error:.3g}")
    row: dict[str, Any] = {**percentiles(run, device, repeats), "error": error}
    if hasattr(planned, "work"):
        rebuild = microseconds(lambda: planned.work.load(plan), repeats=5)
        advance = microseconds(planned.work.advance, repeats=3)
        between = case.tokens_between_forks
        row |= {"rebuild": rebuild, "advance": advance, "plan": (rebuild + (between - 1) * advance) / between}
        planned.work.load(plan)
    else:
        row["plan"] = prepared
    moved = traffic_of(planned, plan, shape, programs=_processors(device))
    if moved is not None:
        row |= {"kv": moved.kv, "kv_loaded": moved.kv_loaded, "partials": moved.partials, "bytes": moved.total}
    return row


def _processors(device: str) -> int:
    return torch.cuda.get_device_properties(0).multi_processor_count if device == "cuda" else 132


def main() -> int:
    """Measures, prints, and records where asked to; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("TREEREASON_DEFT_DATA")
    parser.add_argument("--data", type=Path, default=Path(default) if default else None, help="DeFT's recorded trees")
    parser.add_argument("--fasttree", action="store_true", help="FastTree's 15 trees and 3 sets of heads instead")
    checkout = os.environ.get("TREEREASON_FASTTREE")
    at = Path(checkout) if checkout else None
    parser.add_argument("--fasttree-path", type=Path, default=at, help="checkout of FastTree's artifact, to run it too")
    parser.add_argument("--heads", type=heads_of, nargs="+", help="query/KV heads, such as 32/8 32/32")
    parser.add_argument("--room", type=int, default=PAGE, help="tokens that every branch has reserved pages for")
    parser.add_argument("--seconds", type=float, default=600, help="start nothing new after this long")
    parser.add_argument("--repeats", type=int, default=0, help="timed calls; 0: 30 on a GPU, 5 on a CPU")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--providers", default="", help="comma-separated; default: all that can run here")
    parser.add_argument("--bandwidth", type=float, help="bytes per second, for the floor")
    parser.add_argument("--rate", type=float, help="operations per second, for the floor")
    parser.add_argument("--record", action="store_true", help="append to benchmarks/results/")
    args = parser.parse_args()

    device = "cuda" if torch.cuda.is_available() else "cpu"
    gpu = torch.cuda.get_device_name(0) if device == "cuda" else f"no GPU ({platform.machine()})"
    bandwidth, rate = next((known for key, known in DEVICES.items() if key in gpu), (None, None))
    floor = (args.bandwidth or bandwidth, args.rate or rate)
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    threads = "" if device == "cuda" else f", {torch.get_num_threads()} threads"
    print(f"# {gpu}, torch {torch.__version__}, {dtype}, head size 128{threads}")
    if device == "cpu":
        print("# no GPU: torch backend and dense attention on the CPU; no Triton kernel runs, nothing is its speed")
    if None in floor:
        print("# floor unknown for this device: give --bandwidth and --rate")
    chosen = [case for case in (fasttree_cases() if args.fasttree else cases(args.data)) if args.only in case.name]
    heads_sets: Sequence[tuple[int, int]] = args.heads or (fasttree_trees.HEADS if args.fasttree else HEADS)
    if device == "cpu":
        heads_sets = heads_sets[:1]
    known = peers(args.fasttree_path)
    for name, peer in known.items():
        if peer.missing:
            print(f"# {name}: {peer.missing}")
    columns = f"{'p20':>9} {'p50':>9} {'p80':>9} {'floor':>6} {'plan':>8} {'KV MB':>7} {'part MB':>8}"
    print(f"{'case':{_NAME}} {'heads':>6} {'provider':16} {columns}")

    begin = time.monotonic()
    rows: list[dict[str, Any]] = []
    skipped, broke = 0, False
    # Heads outside: a run out of time has seen every shape with the first heads.
    for heads, case in ((heads, case) for heads in heads_sets for case in chosen):
        plan = case.forest.plan(rng=np.random.default_rng(0), room=args.room)
        too_large = device == "cpu" and plan.num_rows * plan.kv_tokens_read_tree > 800_000
        if too_large or time.monotonic() - begin > args.seconds:
            skipped += 1
            continue
        names = args.providers.split(",") if args.providers else _providers(device, known, heads == heads_sets[0])
        shape = LayerShape(*heads, head_dim=128, dtype=dtype)
        repeats = args.repeats or (30 if device == "cuda" else 5)
        try:
            for row in compare(case, plan, shape, {name: known.get(name) for name in names}, device, repeats, floor):
                rows.append(row)
        except TorchIsBroken as error:
            print(f"# stopped: {error}; torch cannot go on after that capture: leave it out")
            broke = True
            break
    print(f"# {skipped} shapes skipped: too large for a CPU, or out of time")
    print("\n".join(table(rows)))
    packages = ("torch", "triton", "flashinfer-python")
    found = {"gpu": gpu, "room": args.room, "rows": rows}
    show = not args.record
    finish("tree_attention", found, packages=packages, record=args.record, show=show, device=device)
    return 1 if broke or any("failed" in row and row["provider"] in TRITON for row in rows) else 0


def _providers(device: str, known: Mapping[str, Peer], first_heads: bool) -> list[str]:
    """All that run here; FlexAttention, which compiles seconds for every shape, with the first heads only."""
    if device == "cpu":
        return ["torch", "sdpa"]
    here = [name for name, peer in known.items() if not peer.missing]
    return [name for name in (*TRITON, *here) if name != "flex" or first_heads]


def compare(
    case: Case,
    plan: Plan,
    shape: LayerShape,
    providers: Mapping[str, Peer | None],
    device: str,
    repeats: int,
    floor: tuple[float | None, float | None],
) -> Iterator[dict[str, Any]]:
    """One row per provider, printed as it comes; one that fails says so, and the others go on.

    Raises TorchIsBroken.
    """
    data = tensors(plan, shape, device)
    rows = np.unique(np.linspace(0, plan.num_rows - 1, 24).astype(int)).tolist()
    want = by_definition(plan, rows, data, scale=shape.head_dim**-0.5)
    bandwidth, rate = floor
    for name, peer in providers.items():
        row: dict[str, Any] = {"case": case.name, "heads": [shape.num_heads, shape.num_kv_heads], "provider": name}
        try:
            row |= measure(name, peer, case, plan, shape, data, rows, want, device, repeats)
            if bandwidth and rate:
                row["floor"] = floor_seconds(plan, shape, bandwidth=bandwidth, rate=rate) * 1e6 / row["p50"]
        except TorchIsBroken:
            raise
        except Exception as problem:
            row["failed"] = f"{type(problem).__name__}: {problem}"[:200]
        print(_line(row), flush=True)
        yield row


def _line(row: dict[str, Any]) -> str:
    num_heads, num_kv_heads = row["heads"]
    begin = f"{row['case']:{_NAME}} {num_heads:3}/{num_kv_heads:<2} {row['provider']:16} "
    if "failed" in row:
        return begin + str(row["failed"])[:90]
    kv, partials = (f"{row[key] / 1e6:.1f}" if key in row else "-" for key in ("kv", "partials"))
    floor = f"{row['floor']:.0%}" if "floor" in row else "-"
    times = " ".join(f"{row[key]:9.1f}" for key in ("p20", "p50", "p80"))
    return begin + f"{times} {floor:>6} {row['plan']:8.0f} {kv:>7} {partials:>8}"


if __name__ == "__main__":
    sys.exit(main())
