"""Recorded searches: how branches forked, grew and were pruned is given, the tokens are not.

The file is one of DeFT's reasoning records (arXiv 2404.00242): a JSON list of {data: {node: {value, start, end,
children}}}, where value is the node's tokens and start to end are the decode steps in which it grows; the root is the
prompt and ends at 0.
"""

import random
import re
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from treereason.core import Problem, Prompt, Score, Thought, label_free
from treereason.tasks.base import BaseTask
from treereason.tasks.files import json_array, reading
from treereason.text import shown

MAX_NODES = 10_000  # of a search; DeFT's have under 100
MAX_GENERATIONS = 100  # segments above one another, which nest in a problem's input
MAX_SEGMENTS = 100_000  # of a search: its nodes, cut where others fork
MAX_TOKENS = 10_000_000  # of a search, in all; more than caches hold


@dataclass(frozen=True)
class Recorded(BaseTask):
    """Repeat searches that are recorded in a file (task.path=FILE), together with search=recorded.

    A problem is one recorded search. Its input is a tree of segments: {tokens, ends, children}.

    Nodes are cut where another one ends and has children, so that all segments of a generation start in one step and
    the recorded neighbours decode together. `ends` says that the segment is the last of its node.
    """

    path: Annotated[str | None, Field(description="JSON file in the format of DeFT's records; must be given")] = None
    vocabulary: Annotated[int, Field(ge=1, lt=2**31, description="prompts are random token ids below this number")] = 64

    scorer = "share_replayed"

    def read(self, path: Path) -> Sequence[Problem]:
        with reading(path, "a record of searches"):
            records = json_array(path)
        problems = []
        for i, record in enumerate(records):
            with reading(path, f"a record of searches: search {i}"):
                problems.append(_problem(str(i), record))
        return problems

    def prompt(self, thought: Thought, style: str) -> Prompt | None:  # noqa: ARG002
        """For the thought's next child: random tokens below the root, nothing new below others."""
        children = segment(thought)["children"]
        if thought.num_children >= len(children):
            return None
        tokens = children[thought.num_children]["tokens"]
        if thought.depth:
            return Prompt("", appended=True, max_tokens=tokens, ignore_end=True)
        problem = thought.problem
        rng = random.Random(f"replay/{problem.id}")
        ids = tuple(rng.randrange(self.vocabulary) for _ in range(problem.input["tokens"]))
        return Prompt("", token_ids=ids, max_tokens=tokens, ignore_end=True)

    def parse(self, thought: Thought) -> None:
        """None: the search counts what was followed."""


def segment(thought: Thought) -> Mapping[str, Any]:
    """The recorded segment of a thought: children are numbered as recorded."""
    found: Mapping[str, Any] = thought.problem.input
    for rank in thought.path:
        found = found["children"][rank]
    return found


@label_free
def share_replayed(thought: Thought) -> Score:
    """Share of the recorded nodes that were followed to their end."""
    ended: int = thought.answer["ended"] if thought.answer else 0
    return Score(ended / thought.problem.target["ended"])


SCORERS = {"share_replayed": share_replayed}


@dataclass(frozen=True)
class _Node:
    """A node of a record; start and end: the first and the last of its decode steps."""

    value: int
    start: int
    end: int
    children: tuple[int, ...]


def _problem(name: str, record: Any) -> Problem:
    """Raises ValueError for a record that is none, with the place in it."""
    nodes, root = _tree(record)
    forks = sorted({node.end for node in nodes.values() if node.children})
    if len(forks) >= MAX_GENERATIONS:
        raise ValueError(f"{len(forks) + 1:,} generations; at most {MAX_GENERATIONS:,} can be followed")

    def inside_of(node: _Node) -> slice:
        """The forks at which a node is cut."""
        return slice(bisect_left(forks, node.start), bisect_right(forks, node.end - 1))

    spans = [inside_of(node) for number, node in nodes.items() if number != root]
    if (total := sum(1 + max(0, span.stop - span.start) for span in spans)) > MAX_SEGMENTS:
        raise ValueError(f"{total:,} segments between forks; at most {MAX_SEGMENTS:,} can be followed")

    def cut(node: _Node) -> dict[str, Any]:
        """The node's first segment, with all that follows it."""
        inside = forks[inside_of(node)]
        starts = [node.start, *(at + 1 for at in inside)]
        found = {
            "tokens": node.end + 1 - starts[-1],
            "ends": True,
            "children": [cut(nodes[child]) for child in node.children],
        }
        for start, after in zip(starts[-2::-1], starts[:0:-1], strict=True):
            found = {"tokens": after - start, "ends": False, "children": [found]}
        return found

    top = nodes[root]
    # "following" as in a thought's answer, which a target is compared with.
    return Problem(
        name,
        {"tokens": top.value, "ends": True, "children": [cut(nodes[child]) for child in top.children]},
        {"following": 0, "ended": len(nodes) - 1},
    )


def _tree(record: Any) -> tuple[dict[int, _Node], int]:
    """The nodes of a record by number, and the root's number. Raises ValueError unless they are one tree in time."""
    data = record.get("data") if isinstance(record, dict) else None
    if not isinstance(data, dict) or not data:
        raise ValueError(f"not an object with nodes in `data`: {shown(record)}")
    if len(data) > MAX_NODES:
        raise ValueError(f"{len(data):,} nodes; at most {MAX_NODES:,} can be followed")
    nodes = {_number(key): _node(key, value) for key, value in data.items()}
    parents: dict[int, int] = {}
    for number, node in nodes.items():
        for child in node.children:
            if child not in nodes:
                raise ValueError(f"node {number}: its child {child} is not there")
            if child in parents:
                raise ValueError(f"node {child}: it is a child of {parents[child]} and of {number}")
            parents[child] = number
            if nodes[child].start <= node.end:
                raise ValueError(f"node {child}: starts at {nodes[child].start}, before its parent {number} has ended")
    # A node with children has tokens, and they start behind its end: so no node can be above itself.
    root, *others = [number for number in nodes if number not in parents]
    if others:
        raise ValueError(f"node {others[0]}: it is a root as {root} is, and a search has one")
    if not nodes[root].children:
        raise ValueError("it has only a prompt")
    for number, node in nodes.items():
        if number != root and node.value != node.end + 1 - node.start:
            raise ValueError(f"node {number}: {node.value} tokens from step {node.start} to {node.end}")
    if (total := sum(node.value for node in nodes.values())) > MAX_TOKENS:
        raise ValueError(f"{total:,} tokens in all; at most {MAX_TOKENS:,} can be followed")
    return nodes, root


def _number(key: str) -> int:
    if not re.fullmatch(r"0|[1-9][0-9]{0,8}", key):
        raise ValueError(f"node {shown(key)}: it should be called by a number")
    return int(key)


def _node(key: str, value: Any) -> _Node:
    if not isinstance(value, dict):
        raise ValueError(f"node {key}: not an object: {shown(value)}")
    for field in ("value", "start", "end"):
        if type(found := value.get(field)) is not int:
            raise ValueError(f"node {key}: {field} should be a whole number, not {shown(found)}")
        if abs(found) > MAX_TOKENS:
            raise ValueError(f"node {key}: {field}={shown(found)}; at most {MAX_TOKENS:,} tokens can be followed")
    children = value.get("children")
    if not isinstance(children, list) or not all(type(child) is int for child in children):
        raise ValueError(f"node {key}: children should be a list of numbers, not {shown(children)}")
    node = _Node(value["value"], value["start"], value["end"], tuple(children))
    if node.value < bool(children):
        raise ValueError(f"node {key}: value={node.value}: it should have tokens")
    if node.start > node.end + (node.value == 0):
        raise ValueError(f"node {key}: starts at {node.start} after its end at {node.end}")
    return node
