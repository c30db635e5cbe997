"""Recorded searches: how branches forked, grew and were pruned is given, the tokens are not.

The file is one of DeFT's reasoning records (arXiv 2404.00242): a JSON list of {data: {node: {value, start, end,
children}}}, where value is the node's tokens and start to end are the decode steps in which it grows; the root is the
prompt and ends at 0.
"""

import json
import random
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from treereason.core import Problem, Prompt, Score, Thought, UserError
from treereason.tasks.base import BaseTask


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
        try:
            records = json.loads(path.read_text(encoding="utf-8"))
            return [_problem(str(i), record["data"]) for i, record in enumerate(records)]
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}") from None
        except (KeyError, TypeError, ValueError, StopIteration) as error:
            raise UserError(f"{path}: not a record of searches: {type(error).__name__}: {error}") from None

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


def share_replayed(thought: Thought) -> Score:
    """Share of the recorded nodes that were followed to their end."""
    ended: int = thought.answer["ended"] if thought.answer else 0
    return Score(ended / thought.problem.target["ended"])


SCORERS = {"share_replayed": share_replayed}


def _problem(name: str, data: Mapping[str, Mapping[str, Any]]) -> Problem:
    nodes = {int(key): node for key, node in data.items()}
    below = {child for node in nodes.values() for child in node["children"]}
    top = nodes[next(key for key in nodes if key not in below)]
    forks = sorted({node["end"] for node in nodes.values() if node["children"]})

    def cut(node: Mapping[str, Any]) -> dict[str, Any]:
        """The node's first segment, with all that follows it."""
        inside = forks[bisect_left(forks, node["start"]) : bisect_right(forks, node["end"] - 1)]
        starts = [node["start"], *(at + 1 for at in inside)]
        found = {
            "tokens": node["end"] + 1 - starts[-1],
            "ends": True,
            "children": [cut(nodes[child]) for child in node["children"]],
        }
        for start, after in zip(starts[-2::-1], starts[:0:-1], strict=True):
            found = {"tokens": after - start, "ends": False, "children": [found]}
        return found

    children = [cut(nodes[child]) for child in top["children"]]
    if not children:
        raise ValueError(f"search {name} has only a prompt")
    # "following" as in a thought's answer, which a target is compared with.
    return Problem(
        name,
        {"tokens": top["value"], "ends": True, "children": children},
        {"following": 0, "ended": len(nodes) - 1},
    )
