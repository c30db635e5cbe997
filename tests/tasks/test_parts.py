"""Tasks that come apart: a search splits a problem, answers its parts, and joins the answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from tests.fakes import Script, run_search
from treereason.core import Thought, Tree
from treereason.tasks import keyword_counting, set_intersection
from treereason.tasks.counts import count_names


@dataclass(frozen=True)
class SplitAndJoin:
    """Two samples for each of three parts, the best of which are joined."""

    async def run(self, tree: Tree) -> Thought | None:
        task: Any = tree.task
        best = []
        for part in task.split(tree.root.problem, 3):
            made = await tree.expand([tree.root], 2, prompt=task.part_prompt(part, tree.style), part=True)
            for thought in made:
                thought.data["part"] = part
            await tree.score(made, by=task.score_part)
            best += tree.keep(made, 1)
        await tree.score(await tree.join(best, task.aggregate_prompt(best, tree.style)))
        return tree.best()


def scripted(parts: Sequence[str], whole: str) -> Script:
    """What is written for the parts, in the order in which they are asked for, and for the whole."""
    return lambda path: parts[path[-1]] if len(path) == 1 else whole


def common(first: list[int], second: list[int]) -> list[int]:
    return sorted(set(first) & set(second))


@pytest.mark.parametrize("style", ["chat", "embedded"])
def test_the_intersections_of_parts_are_joined(style: str) -> None:
    task = set_intersection.SetIntersection(limit=6)
    for problem in task.problems(3):
        right = [common(**part) for part in task.split(problem, 3)]
        wrong = [[*numbers, 77] for numbers in right]
        answers = [numbers for pair in zip(wrong, right, strict=True) for numbers in pair] + [sorted(problem.target)]
        form = str if style == "chat" else lambda numbers: " ".join(map(str, numbers))
        texts = [form(numbers) for numbers in answers]
        script = scripted(texts[:-1], texts[-1])
        scorer = set_intersection.set_errors
        outcome = run_search(SplitAndJoin(), script, task, scorer, problems=[problem], style=style)
        assert (outcome.done.solved, outcome.done.score, outcome.done.answer) == (True, 0.0, problem.target)
        last = outcome.engine.expansions[-1].prompt.text
        union = [number for numbers in right for number in numbers]
        if style == "chat":
            assert last.startswith("\n".join(map(str, right)) + "\n\n")
        else:
            assert last == "meet {}+{}=".format(form(problem.input["first"]), form(union))


def test_the_counts_of_parts_are_joined() -> None:
    task = keyword_counting.KeywordCounting(limit=6)
    for problem in task.problems(3):
        right = [count_names(part, problem.target) for part in task.split(problem, 3)]
        texts = [text for counts in right for text in ("{}", str(counts).replace("'", '"'))]
        total = sum((Counter(counts) for counts in right), Counter())
        whole = str(dict(total)).replace("'", '"')
        scorer = keyword_counting.count_errors
        outcome = run_search(SplitAndJoin(), scripted(texts, whole), task, scorer, problems=[problem], style="chat")
        assert (outcome.done.solved, outcome.done.score, outcome.done.answer) == (True, 0.0, problem.target)
