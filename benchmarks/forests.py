"""Forests to test and measure on: made ones, and the recorded searches that DeFT published."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from treereason.kernels.plan import Plan, make_plan

PAGE = 16


@dataclass(frozen=True)
class Forest:
    """Nodes in depth-first order. parent is -1 for a root; tokens count the step's new ones, which come last."""

    parent: Sequence[int]
    tokens: Sequence[int]
    new_tokens: Sequence[int]

    def plan(self, *, rng: np.random.Generator | None = None, room: int = 0) -> Plan:
        """Pages scattered by `rng`, or in order; with room for `room` more tokens in every node that has new ones."""
        return make_plan(**self.arrays(rng=rng, room=room))

    def arrays(self, *, rng: np.random.Generator | None = None, room: int = 0) -> dict[str, Any]:
        """Arguments of make_plan."""
        parent = np.asarray(self.parent)
        tokens, new = (np.asarray(a, dtype=np.int32) for a in (self.tokens, self.new_tokens))
        start = np.zeros(len(parent), dtype=np.int32)
        end = np.arange(1, len(parent) + 1, dtype=np.int32)
        for node in range(len(parent)):
            if parent[node] >= 0:
                start[node] = start[parent[node]] + tokens[parent[node]]
        for node in reversed(range(len(parent))):
            if parent[node] >= 0:
                end[parent[node]] = max(end[parent[node]], end[node])
        num_pages = -(-(tokens + room * (new > 0)) // PAGE)
        offset = np.concatenate([[0], np.cumsum(num_pages)]).astype(np.int32)
        total = int(offset[-1])
        # Page numbers with holes among them, as pruning leaves them.
        pages = np.arange(total) if rng is None else rng.permutation(total + 3)[:total]
        return {
            "start": start,
            "tokens": tokens,
            "new_tokens": new,
            "subtree_end": end,
            "pages": pages.astype(np.int32),
            "page_offset": offset,
            "page_size": PAGE,
        }


def star(branches: int, root: int, leaf: int) -> Forest:
    """One prompt, `branches` branches of `leaf` tokens."""
    return Forest([-1] + [0] * branches, [root] + [leaf] * branches, [0] + [1] * branches)


def levels(widths: Sequence[int], tokens: Sequence[int]) -> Forest:
    """Level i has widths[i] nodes of tokens[i] tokens, spread evenly under the level above; leaves decode."""
    parent: list[int] = []
    length: list[int] = []
    new: list[int] = []

    def add(level: int, index: int, above: int) -> None:
        own = len(parent)
        parent.append(above)
        length.append(tokens[level])
        last = level == len(widths) - 1
        new.append(int(last))
        if not last:
            ratio = widths[level + 1] // widths[level]
            for child in range(index * ratio, (index + 1) * ratio):
                add(level + 1, child, own)

    for root in range(widths[0]):
        add(0, root, -1)
    return Forest(parent, length, new)


def several(forests: Sequence[Forest]) -> Forest:
    """Trees side by side."""
    parent: list[int] = []
    for forest in forests:
        shift = len(parent)
        parent += [p + shift if p >= 0 else -1 for p in forest.parent]
    tokens = [t for forest in forests for t in forest.tokens]
    return Forest(parent, tokens, [n for forest in forests for n in forest.new_tokens])


def random_forest(rng: np.random.Generator, nodes: int, max_tokens: int, *, extend: bool = False) -> Forest:
    """Random depth and fan-out, empty inner nodes included; leaves decode, or any node has new tokens."""
    parent = [-1]
    for node in range(1, nodes):
        path = [node - 1]
        while path[-1] >= 0:
            path.append(parent[path[-1]])
        parent.append(int(rng.choice(path)))
    tokens = rng.integers(0, max_tokens + 1, nodes)
    new = np.zeros(nodes, dtype=np.int64)
    for node in range(nodes):
        leaf = node not in parent
        if leaf:
            tokens[node] = max(1, tokens[node])
        if leaf or extend:
            new[node] = rng.integers(int(leaf), tokens[node] + 1) if extend else 1
    return Forest(parent, tokens.tolist(), new.tolist())


def speculative(context: int, candidates: Sequence[Sequence[int]]) -> Forest:
    """A token tree over one context: every candidate path adds one new token, an own node each."""
    paths = sorted(tuple(path) for path in candidates)
    index = {path: node + 1 for node, path in enumerate(paths)}
    parent = [-1] + [index[path[:-1]] if len(path) > 1 else 0 for path in paths]
    return Forest(parent, [context] + [1] * len(paths), [1] + [1] * len(paths))


def recorded_candidates(path: Path) -> list[list[int]]:
    """The speculative token tree of DeFT's APPS record."""
    record = json.loads(path.read_text())
    tree: list[list[int]] = record["Tree_Structure"]
    return tree


@dataclass(frozen=True)
class _Recorded:
    """A node of a recorded search: `tokens` long, grown in decode steps start to end, both included."""

    tokens: int
    start: int
    end: int
    children: list[int]


def recorded_steps(path: Path, *, every: int) -> Iterator[tuple[int, int, Forest]]:
    """(search, step, forest) of DeFT's recorded searches, every `every` decode steps."""
    for search, record in enumerate(json.loads(path.read_text())):
        nodes = {
            int(key): _Recorded(node["value"], node["start"], node["end"], node["children"])
            for key, node in record["data"].items()
        }
        last = max(node.end for node in nodes.values())
        for step in range(1, last + 1, every):
            forest = _forest_at(nodes, step)
            if any(forest.new_tokens):
                yield search, step, forest


def _forest_at(nodes: dict[int, _Recorded], step: int) -> Forest:
    """The forest while `step` is decoded: what grows then, and what lies above it."""
    parent: list[int] = []
    tokens: list[int] = []
    new: list[int] = []

    def live(key: int) -> bool:
        node = nodes[key]
        return node.start <= step <= node.end or any(live(child) for child in node.children)

    def add(key: int, above: int) -> None:
        node = nodes[key]
        own = len(parent)
        parent.append(above)
        tokens.append(min(node.tokens, step - node.start + 1))
        new.append(int(node.start <= step <= node.end))
        for child in node.children:
            if live(child):
                add(child, own)

    below = {child for node in nodes.values() for child in node.children}
    for key in nodes:
        if key not in below and live(key):
            add(key, -1)
    return Forest(parent, tokens, new)
