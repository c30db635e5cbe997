"""Forests that tree attention is measured and modelled on: made shapes, DeFT's recorded searches, FastTree's trees."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import fasttree_trees
from benchmarks.forests import Forest, levels, recorded_candidates, recorded_steps, several, speculative, star


@dataclass(frozen=True)
class Case:
    """A forest to measure, and how many decode steps lie between two plans of it."""

    name: str
    forest: Forest
    tokens_between_forks: int = 16


def cases(data: Path | None) -> Iterator[Case]:
    """Made shapes, and those of DeFT's records where `data` is their folder."""
    yield Case("50 branches on 4k", star(50, 4_000, 200))
    yield Case("50 branches on 20k", star(50, 20_000, 200))
    yield Case("widths 1-4-16-512", levels((1, 4, 16, 512), (1_024, 256, 128, 32)))
    yield Case("widths 1-2-4-..-128-1024 of 16", levels((1, 2, 4, 8, 16, 32, 64, 128, 1_024), (16,) * 9))
    for trees in (1, 8, 64):
        yield Case(f"{trees} trees of 10 on 1.2k", several([star(10, 1_200, 100)] * trees))
    for tokens in (1, 4, 16):
        yield Case(f"fork every {tokens}", levels((1, 4, 16, 64), (1_024, tokens, tokens, tokens)), tokens)
    guesses = [[i] for i in range(10)] + [[i, j] for i in range(6) for j in range(6)] + [[0, 0, i] for i in range(18)]
    if data is not None and (data / "APPS_tree_size64.json").is_file():
        guesses = recorded_candidates(data / "APPS_tree_size64.json")
    yield Case("64-token speculative tree", speculative(4_000, guesses))
    if data is not None:
        for path in sorted(data.glob("*ToT.json")):
            steps = list(recorded_steps(path, every=401))
            search, step, forest = max(steps, key=lambda s: sum(s[2].new_tokens))
            yield Case(f"{path.stem} search {search} step {step}", forest)
            at_once = [f for _, s, f in steps if s == 803]
            yield Case(f"{path.stem} {len(at_once)} searches at step 803", several(at_once))


def fasttree_cases() -> Iterator[Case]:
    """The trees of FastTree's figure."""
    for tree in fasttree_trees.TREES:
        yield Case(tree.name, levels(tree.widths, tree.tokens))


def heads_of(text: str) -> tuple[int, int]:
    """(query heads, KV heads) of such as 32/8; ValueError where it is no such thing."""
    num_heads, num_kv_heads = map(int, text.split("/"))
    return num_heads, num_kv_heads
