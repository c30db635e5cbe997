"""The cost model of tree attention: beside published bars, beside measured rows, and for shapes not measured yet.

    python -m benchmarks.cost_model [rows bars shapes] [--device H200] [--data DIR] [--heads 32/8] [--only NAME]

Nothing here is measured but the rows it reads. Microseconds. What the constants are and who says so:
kernels/tools/cost_model.py and kernels/tools/attention_costs.py.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import fasttree_trees
from benchmarks.attention_cases import Case, cases, fasttree_cases, heads_of
from benchmarks.forests import PAGE
from benchmarks.record import RESULTS
from treereason.kernels.layer import LayerShape
from treereason.kernels.plan import Plan
from treereason.kernels.tools import attention_model as model
from treereason.kernels.tools.attention_costs import FITTED, FITTED_LINES, REVIEWED, ROWS, AttentionCost
from treereason.kernels.tools.cost_model import DEVICES, REPLAY_SECONDS, Device, Launch, call_seconds
from treereason.kernels.tools.fasttree_cut import one_tree

MODELLED: dict[str, Callable[[Plan, LayerShape, Device, AttentionCost], list[Launch]]] = {
    "tree_decode": model.tree_decode,
    "tree_extend": model.tree_extend,
    "sequence": model.sequence,
    "deft_flatten": model.flatten,
}
COSTS = {"reviewed": REVIEWED, "rows": ROWS}
# Older lines timed other kernels than this checkout cuts work for.
SINCE = "2026-11-26T10:00:00+00:00"
# Time of FastTree over that of FlashAttention, H100, 32/8 heads: the bars of its figure, as the review read them off.
# The review names no trees; these three are where its own model's ratios are the ones it gives. Two more of its bars,
# 0.36 and 0.20, belong to trees that it does not let identify.
BARS = {"1,10 / 4000,400": 0.55, "1,1024 / 2048,32": 0.09, "1,4,16,64,256,1024 / 256,8,256,64,32,256": 0.33}
SHAPES = ("floor", "reviewed", "rows", "FastTree", "Flatten", "sequence", "apart")


def shape_of(heads: Sequence[int]) -> LayerShape:
    """Of (query heads, KV heads): head size 128, 16 bit."""
    return LayerShape(heads[0], heads[1], head_dim=128, dtype=torch.bfloat16)


def plan_of(case: Case, room: int) -> Plan:
    """As the benchmark plans it, pages scattered."""
    return case.forest.plan(rng=np.random.default_rng(0), room=room)


def beside_rows(line: dict[str, Any], data: Path | None) -> Iterator[dict[str, Any]]:
    """Each measured row with what each of COSTS predicts, microseconds. line: one of results/tree_attention.jsonl.

    The plan is cut as this checkout cuts it: a line from before a change of the cut no longer compares. FastTree has no
    costs but the review's.
    """
    device = next(known for name, known in DEVICES.items() if name in line["gpu"])
    fitted = FITTED if line["date"] in FITTED_LINES else set()
    plans = {case.name: plan_of(case, line.get("room", PAGE)) for case in (*cases(data), *fasttree_cases())}
    for row in line["rows"]:
        provider = row["provider"]
        if (provider not in MODELLED and provider != "fasttree") or "failed" in row or row["case"] not in plans:
            continue
        plan, shape = plans[row["case"]], shape_of(row["heads"])
        if provider == "fasttree":
            launches = {"reviewed": model.fasttree(plan, shape)}
        else:
            launches = {name: MODELLED[provider](plan, shape, device, cost) for name, cost in COSTS.items()}
        predicted = {name: micro(of, device, replay=True) for name, of in launches.items()}
        yield {**row, "predicted": predicted, "fitted": (row["case"], *row["heads"], provider) in fitted}


def micro(launches: Sequence[Launch], device: Device, *, replay: bool = False) -> float:
    """Microseconds of a call; with what measuring adds where asked for."""
    return call_seconds(launches, device, replay=REPLAY_SECONDS if replay else 0.0) * 1e6


def predictions(plan: Plan, shape: LayerShape, device: Device) -> dict[str, float]:
    """Microseconds by column of SHAPES; FastTree only where it takes the forest."""
    found = {
        "floor": model.floor(plan, shape, device) * 1e6,
        "reviewed": micro(model.tree_decode(plan, shape, device, REVIEWED), device),
        "rows": micro(model.tree_decode(plan, shape, device, ROWS), device),
        "Flatten": micro(model.flatten(plan, shape, device, ROWS), device),
        "sequence": micro(model.sequence(plan, shape, device, ROWS), device),
        "apart": micro(model.flash_apart(plan, shape), device),
    }
    if one_tree(plan):
        found["FastTree"] = micro(model.fasttree(plan, shape), device)
    return found


def print_rows(data: Path | None) -> None:
    """Measured rows of every line since SINCE, the model beside them."""
    for text in (RESULTS / "tree_attention.jsonl").read_text().splitlines():
        line = json.loads(text)
        if line["date"] < SINCE:
            continue
        print(f"# {line['gpu']}, {line['date'][:10]}, {line['commit']}; * : rows takes a figure from this row")
        columns = " ".join(f"{name:>15}" for name in COSTS)
        print(f"{'case':44} {'heads':>6} {'provider':12} {'measured':>9} {columns}")
        errors: dict[tuple[str, str], list[float]] = {}
        for row in beside_rows(line, data):
            cells = ""
            for name, predicted in row["predicted"].items():
                off = predicted / row["p50"] - 1
                cells += f" {predicted:9.1f} {off:+5.0%}"
                if not (row["fitted"] and name == "rows"):
                    errors.setdefault((row["provider"], name), []).append(abs(off))
            begin = f"{row['case'][:44]:44} {row['heads'][0]:3}/{row['heads'][1]:<2} {row['provider']:12}"
            print(f"{begin} {row['p50']:9.1f}{cells}{' *' if row['fitted'] else ''}")
        for (provider, name), found in sorted(errors.items()):
            middle, worst = statistics.median(found), max(found)
            error = f"off by {middle:4.0%} in the median, {worst:4.0%} at worst"
            print(f"# {provider:12} {name:10} {error}, {len(found)} rows")


def print_bars() -> None:
    """FastTree over FlashAttention, published and modelled, for all its trees on an H100."""
    device = DEVICES["H100"]
    print("# FastTree's time over FlashAttention's, H100; FlashAttention reads a copy of every path, as published")
    print(f"{'tree':58} {'published':>9} " + " ".join(f"{q}/{kv:<4}".rjust(6) for q, kv in fasttree_trees.HEADS))
    for case in fasttree_cases():
        plan = plan_of(case, 0)
        shares = []
        for heads in fasttree_trees.HEADS:
            shape = shape_of(heads)
            ours, flash = model.fasttree(plan, shape), model.flash_apart(plan, shape)
            shares.append(f"{micro(ours, device) / micro(flash, device):6.2f}")
        bar = BARS.get(case.name)
        print(f"{case.name:58} {'' if bar is None else format(bar, '.2f'):>9} {' '.join(shares)}")


def print_shapes(chosen: Sequence[Case], heads_sets: Sequence[tuple[int, int]], device: Device, room: int) -> None:
    """Every case, every set of heads; last on how many of its own trees FastTree is ahead."""
    print(f"# predicted, {device.name}, room of {room} tokens a branch; nothing here is measured")
    print(f"{'case':58} {'heads':>6} " + " ".join(f"{name:>11}" for name in SHAPES))
    trees = {tree.name for tree in fasttree_trees.TREES}
    for heads in heads_sets:
        ratios: dict[str, dict[str, float]] = {name: {} for name in COSTS}
        for case in chosen:
            found = predictions(plan_of(case, room), shape_of(heads), device)
            cells = " ".join(f"{found[name]:11.1f}" if name in found else f"{'-':>11}" for name in SHAPES)
            print(f"{case.name:58} {heads[0]:3}/{heads[1]:<2} {cells}", flush=True)
            if case.name in trees:
                for name, of_tree in ratios.items():
                    of_tree[case.name] = found[name] / found["FastTree"]
        for name, of_tree in ratios.items():
            if of_tree:
                behind = sum(ratio > 1 for ratio in of_tree.values())
                worst = max(of_tree, key=of_tree.__getitem__)
                print(f"# {name}: FastTree ahead on {behind} of {len(of_tree)}; worst {of_tree[worst]:.2f}x, {worst}")


def main() -> None:
    """Prints the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["rows", "bars", "shapes"], help="rows, bars, shapes; default all")
    default = os.environ.get("TREEREASON_DEFT_DATA")
    parser.add_argument("--data", type=Path, default=Path(default) if default else None, help="DeFT's recorded trees")
    parser.add_argument("--device", choices=DEVICES, default="H200")
    parser.add_argument("--heads", type=heads_of, nargs="+", default=fasttree_trees.HEADS, help="such as 32/8 16/1")
    parser.add_argument("--only", default="", help="shapes whose name contains this")
    parser.add_argument("--room", type=int, default=PAGE, help="tokens that every branch has reserved pages for")
    args = parser.parse_args()
    if "rows" in args.parts:
        print_rows(args.data)
    if "bars" in args.parts:
        print_bars()
    if "shapes" in args.parts:
        chosen = [case for case in (*fasttree_cases(), *cases(args.data)) if args.only in case.name]
        print_shapes(chosen, args.heads, DEVICES[args.device], args.room)


if __name__ == "__main__":
    main()
