"""Samples of one prompt, decoded by the tree and by its peers side by side.

    python -m benchmarks.decode [--prompts 1024,4096] [--dtype bfloat16] [--peers sequence,...] [--check] [--record]

A random-weight Llama of 8 layers, 512 wide, 8/2 heads. The sides run in one process and take turns; each line is a
side's seconds (min, median, max) and how often it takes the tree's time: `tree_over_x` is the seconds of x over the
tree's, so more than 1 is better for the tree; its spread is over pairs of neighbouring runs. The last line is JSON.

Sides: tree; sequence (the same engine, each branch reading its own path); shared_prefill (transformers: prefill once,
copy the KV cache, decode a batch: the fair peer); generate (transformers, num_return_sequences: half a minute at 1,024
and only there, unless --peers names it); llama_cpp (where it is installed, see decode_llama_cpp.py).
"""

from __future__ import annotations

import os

os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # before torch loads OpenMP (docs/log.md)

import argparse
import math
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from benchmarks import decode_llama_cpp
from benchmarks.decode_sides import Case, Run, Side, engine_side, generate_side, random_llama, shared_prefill_side
from benchmarks.record import finish, spread, version

PACKAGES = ("torch", "transformers", "llama-cpp-python")
PEERS = ("sequence", "shared_prefill", "generate", "llama_cpp")
LONGEST_GENERATE = 1024


def sides(network: PreTrainedModel, names: Sequence[str], threads: int, folder: Path) -> dict[str, Side]:
    """What can run of `names`, and the tree."""
    found = {"tree": engine_side(network, per_branch=False)}
    if "sequence" in names:
        found["sequence"] = engine_side(network, per_branch=True)
    if "shared_prefill" in names:
        found["shared_prefill"] = shared_prefill_side(network)
    if "generate" in names:
        found["generate"] = generate_side(network)
    if "llama_cpp" in names and decode_llama_cpp.installed():
        path = folder / "model.gguf"
        decode_llama_cpp.write_gguf(network, path)
        found["llama_cpp"] = decode_llama_cpp.llama_cpp_side(path, threads)
    return found


def compare(case: Case, found: dict[str, Side], repeats: int) -> dict[str, Any]:
    """Seconds of every side, and ratios to the tree, over `repeats` rounds in which each side runs once."""
    warm = Case(case.prompt[:64], case.samples, 4, case.temperature)
    for side in found.values():
        side(warm)
    runs: dict[str, list[Run]] = {name: [] for name in found}
    for _ in range(repeats):
        for name, side in found.items():
            if name != "generate" or not runs[name]:  # once is enough for what takes half a minute
                runs[name].append(side(case))
    rows: dict[str, Any] = {}
    for name, of_side in runs.items():
        prefill = statistics.median(run.prefill for run in of_side)
        row: dict[str, Any] = {"seconds": spread([run.seconds for run in of_side])}
        row["prefill"] = None if math.isnan(prefill) else prefill
        ratios = [run.seconds / tree.seconds for run, tree in zip(of_side, runs["tree"], strict=False)]
        row["over_tree"] = spread(ratios)
        rows[name] = row
        seconds, ratio = row["seconds"], row["over_tree"]
        print(
            f"{len(case.prompt):6} {name:15} "
            + " ".join(f"{seconds[key]:8.2f}" for key in ("min", "median", "max"))
            + f" {prefill:8.2f}   "
            + (" " * 20 if name == "tree" else " ".join(f"{ratio[key]:6.2f}" for key in ("min", "median", "max"))),
            flush=True,
        )
    return rows


def check(case: Case, found: dict[str, Side]) -> None:
    """All sides decode the same tokens when greedy. Raises ValueError for one that does not."""
    want = found["tree"](case).tokens
    for name, side in found.items():
        if name != "tree" and (got := side(case).tokens) != want:
            same = (torch.tensor(got) == torch.tensor(want)).float().mean()
            raise ValueError(f"{name} decodes other tokens than the tree: {same:.1%} are the same")
        print(f"# greedy, {len(case.prompt)} tokens: {name} decodes the tree's tokens", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", default="1024,4096", help="prompt lengths")
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=64, help="decoded per sample")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peers", help=f"comma-separated, of {', '.join(PEERS)}; default: all, generate up to 1,024")
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--check", action="store_true", help="first see that all sides but llama_cpp agree when greedy")
    parser.add_argument("--record", action="store_true", help="append to benchmarks/results/")
    args = parser.parse_args(arguments)
    names = args.peers.split(",") if args.peers else list(PEERS)
    if unknown := set(names) - set(PEERS):
        parser.error(f"--peers: no {', '.join(sorted(unknown))}; there are {', '.join(PEERS)}")

    torch.set_num_threads(args.threads)
    network = random_llama(getattr(torch, args.dtype), layers=args.layers, hidden=args.hidden)
    versions = {name: version(name) for name in PACKAGES}
    print(f"# {args.dtype}, {args.threads} threads, {args.samples} samples of {args.tokens} tokens; {versions}")
    print(f"{'prompt':>6} {'side':15} {'min s':>8} {'median':>8} {'max':>8} {'prefill':>8}   {'times the tree':>20}")
    rows: dict[str, Any] = {}
    generator = torch.Generator().manual_seed(1)
    with tempfile.TemporaryDirectory() as folder:
        found = sides(network, names, args.threads, Path(folder))
        if "llama_cpp" in names and "llama_cpp" not in found:
            print("# llama_cpp: llama-cpp-python and gguf are not installed")
        for length in map(int, args.prompts.split(",")):
            prompt = tuple(torch.randint(0, 4096, (length,), generator=generator).tolist())
            skipped = {"generate"} if not args.peers and length > LONGEST_GENERATE else set()
            here = {name: side for name, side in found.items() if name not in skipped}
            if args.check:
                greedy = Case(prompt, args.samples, args.tokens, 0.0)
                check(greedy, {name: side for name, side in here.items() if name != "llama_cpp"})
            rows[str(length)] = compare(Case(prompt, args.samples, args.tokens), here, args.repeats)
    ratios = {
        f"tree_over_{peer}": {
            length: of_length[peer]["over_tree"]["median"] for length, of_length in rows.items() if peer in of_length
        }
        or None
        for peer in PEERS
    }
    result = {
        **ratios,
        "ratio": "seconds of the peer over seconds of the tree, median; by prompt length",
        "dtype": args.dtype,
        "prompts": list(map(int, rows)),
        "samples": args.samples,
        "tokens": args.tokens,
        "layers": args.layers,
        "hidden": args.hidden,
        "threads": args.threads,
        "repeats": args.repeats,
        "rows": rows,
    }
    finish("decode", result, packages=PACKAGES, record=args.record)


if __name__ == "__main__":
    main()
