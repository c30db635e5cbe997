"""DeFT's recorded token trees through the engine: each step proposes the recorded tree, and accepts as many tokens.

    python -m benchmarks.speculative_replay --data FOLDER [--model FOLDER] [--steps 40] [--record]

The record (APPS_tree_size64.json of DeFT, arXiv 2404.00242) holds the shape of a tree of 63 tokens and how many tokens
each step accepted, the one that follows the tree included; tokens it has none. So a branch is decoded once, and once
more with trees in which just so many of its tokens are right. Compared are attention that reads each node once and
attention that reads each row's own path, in whole steps; and on the plan of such a step, one layer's attention beside
torch's own with a dense mask.
"""

from __future__ import annotations

import os

os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # before torch loads OpenMP (docs/log.md)

import argparse
import json
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

import treereason as tr
from benchmarks.forests import recorded_candidates, speculative
from benchmarks.peers_torch import sdpa
from benchmarks.record import finish, spread
from treereason.core import Expansion, Prompt, Sampling
from treereason.engine.attention.eager_step import AttentionKind
from treereason.engine.engine import Engine
from treereason.engine.model.language_model import LanguageModel
from treereason.engine.schedule.branch import Branch
from treereason.engine.schedule.draft import Draft
from treereason.kernels.cpu.compiled_backend import CompiledBackend
from treereason.kernels.options import AttentionOptions
from treereason.kernels.plan import kv_pool

FILE = "APPS_tree_size64.json"
PACKAGES = ("torch",)


class RecordedTrees:
    """Proposes the recorded tree, with `right[i]` right tokens in the i-th step. truth: what the branch will say."""

    def __init__(self, guesses: Sequence[Sequence[int]], right: Sequence[int], truth: Sequence[int]) -> None:
        self._guesses = sorted(map(tuple, guesses), key=len)
        self._right = right
        self._truth = truth
        self.num_steps = 0

    def propose(self, branches: Sequence[Branch]) -> list[Draft]:
        """As in Drafter; of one branch."""
        [branch] = branches
        rest = self._truth[len(branch.tokens) :]
        num_right = self._right[self.num_steps] if self.num_steps < len(self._right) else 0
        path = next(guess for guess in self._guesses if len(guess) >= num_right)
        self.num_steps += 1
        index: dict[tuple[int, ...], int] = {(): -1}
        draft = Draft()
        for guess in self._guesses:
            depth = len(guess) - 1
            # Ranks among guesses make other tokens, so that no two below one token are the same.
            right = guess == path[: depth + 1] and depth < num_right and depth < len(rest)
            wrong = (rest[depth] if depth < len(rest) else 0) + 1 + guess[-1]
            index[guess] = len(draft.tokens)
            draft.tokens.append(rest[depth] if right else wrong % 64)
            draft.parents.append(index[guess[:-1]])
            draft.levels.append(depth)
        return [draft]

    def forget(self, problem: str) -> None:
        """Nothing is held."""


def decode(model: LanguageModel, prompt: Prompt, **options: Any) -> tuple[list[int], float, int]:
    """Tokens of the one branch, seconds of its steps behind the prompt, and how many these are."""
    engine = Engine(model, kv_tokens=16 * 1024, max_branches=128, **options)
    engine.submit(Expansion("p", (), prompt, ((0,),), Sampling(0.0)))
    engine.step()
    begin, steps = time.perf_counter(), 0
    while engine.busy:
        engine.step()
        steps += 1
    seconds = time.perf_counter() - begin
    [thought] = engine._thoughts
    return thought.branch.tokens, seconds, steps


def one_layer(guesses: Sequence[Sequence[int]], context: int, repeats: int) -> dict[str, Any]:
    """Microseconds of one layer's attention for the rows of one tree: ours, and torch's with a dense mask."""
    plan = speculative(context, [list(guess) for guess in guesses]).plan()
    generator = torch.Generator().manual_seed(0)
    slots = int(plan.pages.max() + 1) * plan.page_size
    keys, values = (kv_pool(slots, 3, 64, dtype=torch.bfloat16) for _ in range(2))
    for pool in (keys, values):
        pool.copy_(torch.randn(pool.shape, generator=generator))
    query = torch.randn(plan.num_rows, 9, 64, generator=generator).bfloat16()
    backend, options = CompiledBackend(plan), AttentionOptions(scale=0.125)
    sides: dict[str, Callable[[], Any]] = {
        "tree": lambda: backend.attend(query, keys, values, options),
        "dense_mask": sdpa(plan, query, keys, values, 0.125),
    }
    found: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats * 5):
        for name, run in sides.items():
            begin = time.perf_counter()
            run()
            found[name].append(1e6 * (time.perf_counter() - begin))
    ratios = [dense / tree for dense, tree in zip(found["dense_mask"], found["tree"], strict=True)]
    return {**{f"{name}_us": spread(us) for name, us in found.items()}, "dense_over_tree": spread(ratios)}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help=f"folder of {FILE}")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--search", type=int, default=0, help="which record of the file")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--context", type=int, default=1000, help="tokens of the prompt, drawn at random")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--record", action="store_true", help="append to benchmarks/results/")
    args = parser.parse_args(arguments)

    torch.set_num_threads(args.threads)
    model = tr.load(args.model)
    assert isinstance(model, LanguageModel)
    guesses = recorded_candidates(args.data / FILE)
    accepted = json.loads((args.data / FILE).read_text())["Records"][args.search]["Accept_length"][: args.steps]
    ids = random.Random(0).choices(range(64), k=args.context)
    prompt = Prompt("", token_ids=tuple(ids), max_tokens=1 + sum(accepted), ignore_end=True)
    truth, plain_seconds, _ = decode(model, prompt)
    kinds: tuple[AttentionKind, ...] = ("compiled", "compiled_sequence")
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(args.repeats):
        for kind in kinds:
            trees = RecordedTrees(guesses, [count - 1 for count in accepted], truth)
            tokens, took, steps = decode(model, prompt, drafter=trees, attention=kind)
            assert tokens == truth
            assert steps == len(accepted), f"{steps} steps where {len(accepted)} are recorded"
            seconds[kind].append(took)
    ratios = [own / tree for own, tree in zip(seconds["compiled_sequence"], seconds["compiled"], strict=True)]
    measured = {
        "model": Path(args.model).name,
        "context": args.context,
        "steps": len(accepted),
        "tokens_per_step": round(sum(accepted) / len(accepted), 3),
        "threads": args.threads,
        "repeats": args.repeats,
        "seconds": {kind: spread(of) for kind, of in seconds.items()},
        "seconds_without_trees": round(plain_seconds, 3),
        "sequence_over_tree": spread(ratios),
        "one_layer": one_layer(guesses, args.context, args.repeats),
    }
    finish("speculative_replay", measured, packages=PACKAGES, record=args.record)


if __name__ == "__main__":
    main()
