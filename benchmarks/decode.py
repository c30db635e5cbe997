"""Trees decoded by our engine and by its peers, side by side on a CPU.

    python -m benchmarks.decode [--works 1024,tree] [--dtype bfloat16] [--threads 2,1] [--peers openvino,vllm]
                                [--peers-python PATH] [--model smollm2] [--busy 3] [--check] [--record]
    python -m benchmarks.decode --table

A random-weight Llama of 8 layers, 512 wide, 8/2 heads, or SmolLM2. Every side is a process of its own; they take
turns, with fresh prompts each round. Each line is a side's seconds (min, median, max), the seconds of all its threads
together, and both over ours in the same round: more than 1 is better for us. The last line is JSON.

Sides: tree; sequence (the same engine, each branch reading its own path); openvino; vllm; llama_cpp; llama_cpp_q4_1
(SmolLM2 as published); shared_prefill (transformers: one prefill, the KV cache copied, one batch), once.
--busy N: each turn is taken twice, alone and beside N processes that compute without end.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch

from benchmarks.decode_busy import Busy
from benchmarks.decode_case import WORKS, Case, Model
from benchmarks.decode_models import random_llama, smollm2
from benchmarks.decode_rows import HEAD, line, rows
from benchmarks.decode_table import tables
from benchmarks.decode_worker import NotInstalled, Run, Worker
from benchmarks.record import finish

OURS = {
    "tree": "benchmarks.decode_sides:tree",
    "sequence": "benchmarks.decode_sides:sequence",
    "shared_prefill": "benchmarks.decode_sides:shared_prefill",
}
THEIRS = {
    "openvino": "benchmarks.decode_openvino:side",
    "vllm": "benchmarks.decode_vllm:side",
    "llama_cpp": "benchmarks.decode_llama_cpp:side",
    "llama_cpp_q4_1": "benchmarks.decode_llama_cpp:q4_1",
}
PEERS = [name for name in OURS | THEIRS if name != "tree"]
ROUNDED = ("llama_cpp", "llama_cpp_q4_1")  # KV in f16, or weights of 4 bits
MOST_ROUNDS = {"shared_prefill": 1, "sequence": 3}  # slow, or ours


class Runs(Protocol):
    """A side that runs cases."""

    def run(self, case: Case, *, tell: bool = False) -> Run: ...


@contextmanager
def workers(names: Sequence[str], model: Model, python: str) -> Iterator[dict[str, Worker]]:
    """The tree and those of `names` that are installed."""
    with ExitStack() as stack:
        found: dict[str, Worker] = {}
        for name in ["tree", *names]:
            try:
                found[name] = Worker((OURS | THEIRS)[name], model, sys.executable if name in OURS else python)
                stack.callback(found[name].close)
            except NotInstalled as error:
                print(f"# {name} is left out: {error}")
        yield found


def check(case: Case, sides: Mapping[str, Runs]) -> None:
    """Sides decode the tree's tokens when greedy. Raises ValueError for one that does not, though it computes alike."""
    want = sides["tree"].run(case, tell=True).tokens
    for name, side in sides.items():
        if name == "tree":
            continue
        got = side.run(case, tell=True).tokens
        pairs = [(a, b) for ours, theirs in zip(want, got, strict=True) for a, b in zip(ours, theirs, strict=True)]
        same = sum(a == b for a, b in pairs) / len(pairs)
        if got != want and name not in ROUNDED:
            raise ValueError(f"{name} decodes other tokens than the tree: {same:.1%} are the same")
        print(f"# greedy: {name} decodes {same:.1%} of the tree's tokens", flush=True)


def turns(sides: Mapping[str, Runs], cases: Sequence[Case], busy: Busy) -> dict[tuple[str, int], list[Run]]:
    """Runs by side and number of busy processes; a case is a round, in which every side has its turn."""
    runs: dict[tuple[str, int], list[Run]] = {}
    for number, case in enumerate(cases):
        for name, side in sides.items():
            if number >= MOST_ROUNDS.get(name, len(cases)):
                continue
            runs.setdefault((name, 0), []).append(side.run(case))
            if busy.count:
                with busy.running():
                    # Of the same sizes, but not known from the turn before.
                    again = Case(case.shared[::-1], case.own, case.levels, case.temperature)
                    runs.setdefault((name, busy.count), []).append(side.run(again))
    return runs


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--works", default="1024,4096", help=f"comma-separated, of {', '.join(WORKS)}")
    parser.add_argument("--model", choices=("random", "smollm2"), default="random")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--threads", default="2", help="comma-separated")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", help=f"comma-separated, of {', '.join(PEERS)}; default: all")
    parser.add_argument(
        "--peers-python",
        default=os.environ.get("TREEREASON_PEERS_PYTHON", sys.executable),
        help="the Python in which openvino, vllm and llama_cpp are installed; default: this one",
    )
    parser.add_argument("--busy", type=int, default=0, help="busy processes")
    parser.add_argument("--divide", type=int, default=1, help="all lengths by this, for a quick look")
    parser.add_argument("--check", action="store_true", help="first see that sides agree when greedy, in float32")
    parser.add_argument("--table", action="store_true", help="only print the recorded tables, as README has them")
    parser.add_argument("--record", action="store_true", help="append to benchmarks/results/")
    args = parser.parse_args(arguments)
    if args.table:
        print(tables())
        return
    names = args.peers.split(",") if args.peers else [name for name in PEERS if name != "llama_cpp_q4_1"]
    works = args.works.split(",")
    for option, given, known in (("--peers", names, PEERS), ("--works", works, WORKS)):
        if unknown := [name for name in given if name not in known]:
            parser.error(f"{option}: no {', '.join(unknown)}; there are {', '.join(known)}")
    if args.record and args.divide > 1:
        parser.error("--record: only whole works, without --divide")
    if args.check and args.dtype != "float32":
        parser.error("--check: in bfloat16 tokens differ by rounding; use --dtype float32")

    measured: list[dict[str, Any]] = []
    versions: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        network = smollm2(Path(folder)) if args.model == "smollm2" else random_llama(getattr(torch, args.dtype))
        network.save_pretrained(folder)
        vocabulary = network.config.vocab_size
        del network
        for threads in map(int, args.threads.split(",")):
            print(f"# {args.model}, {args.dtype}, {threads} threads\n{HEAD}")
            model = Model(Path(folder), args.dtype, threads)
            with workers(names, model, args.peers_python) as sides, Busy(args.busy) as busy:
                for side in sides.values():
                    versions |= side.versions
                for name in works:
                    work = WORKS[name].divided(args.divide)
                    for side in sides.values():
                        side.run(work.divided(16).case(99, vocabulary))
                    if args.check:
                        check(work.case(98, vocabulary, temperature=0.0), sides)
                    runs = turns(sides, [work.case(seed, vocabulary) for seed in range(args.rounds)], busy)
                    told = {"model": args.model, "work": name, "dtype": args.dtype, "threads": threads}
                    for row in rows(runs, threads):
                        print(line(name, row), flush=True)
                        if row["busy"] == args.busy:
                            measured.append(told | row)
    result = {"works": measured, "peer_versions": versions}
    finish("decode", result, packages=("torch", "transformers"), record=args.record, show=False)


if __name__ == "__main__":
    main()
