"""Searches over a chat model that knows of a problem what its prompts say, and nothing else."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from fractions import Fraction
from itertools import product
from typing import Any

import pytest

from tests.fakes import Outcome, ScriptedEngine, run_search
from treereason.core import Decoded, Expansion, Prompt, Request, ThoughtPath
from treereason.core.judges import Value
from treereason.search import GraphOfThoughts, TreeOfThoughts
from treereason.tasks import document_merging, game_of_24, keyword_counting, set_intersection, sorting
from treereason.tasks.counts import count_names
from treereason.tasks.generators import contracts, countdown
from treereason.tasks.generators.travels import COUNTRIES

THOUGHTS = "I compare number by number. " * 15 + "\n"
"""420 letters, each of which is a token."""


class Chat:
    """Writes what `answer` makes of a prompt."""

    def __init__(self, answer: Callable[[Prompt], str]) -> None:
        self.answer = answer
        self.prompts: dict[ThoughtPath, Prompt] = {}

    def __call__(self, path: ThoughtPath) -> str:
        return self.answer(self.prompts[path]) if path in self.prompts else "given"


class ChatEngine(ScriptedEngine):
    """Shows its script the prompts."""

    def submit(self, request: Request, known: Mapping[ThoughtPath, Decoded] | None = None) -> None:
        assert isinstance(self.script, Chat)
        if isinstance(request, Expansion):
            self.script.prompts |= dict.fromkeys(request.children, request.prompt)
        super().submit(request, known)


def searched(search: Any, module: Any, task: Any, answer: Callable[[Prompt], str], **options: Any) -> Outcome:
    problems = task.problems(1)[:1]
    scorer = module.SCORERS[task.scorer]
    return run_search(search, Chat(answer), task, scorer, problems=problems, style="chat", engine=ChatEngine, **options)


def lists(text: str) -> list[list[int]]:
    return [json.loads(found) for found in re.findall(r"\[[^\[\]]*\]", text)]


def sort(prompt: Prompt) -> str:
    """Sorts well, loses a number when it merges, and finds it when it looks again."""
    given = lists(prompt.text)
    if "Merge" in prompt.shared:
        return str(sorted(number for each in given for number in each)[1:])
    return THOUGHTS * ("Attempt:" in prompt.text) + str(sorted(given[0]))


def intersect(prompt: Prompt) -> str:
    given = lists(prompt.text)
    if "Lists:" in prompt.shared:
        given = lists(prompt.text.partition("\n\n")[0])
        return str([*(number for each in given for number in each), 77])
    common = [number for number in given[0] if number in given[1]]
    return THOUGHTS * ("Attempt:" in prompt.text) + f"They share {common}."


def count(prompt: Prompt) -> str:
    if "Counts:" in prompt.shared:
        parts = [Counter(json.loads(line)) for line in prompt.text.partition("\n\n")[0].splitlines()]
        return json.dumps(sum(parts, Counter(Atlantis=1)))
    text = re.split(r"\nAttempt:|\n\n", prompt.text.removeprefix("Text: "))[0]
    return THOUGHTS * ("Attempt:" in prompt.text) + json.dumps(count_names(text, COUNTRIES))


def merge(prompt: Prompt) -> str:
    """Its drafts lack the last document, and its corrections nothing."""
    documents = re.findall(r"<document \d+>\n(.*)\n</document", prompt.text)
    kept = documents if "<draft>" in prompt.text else documents[:-1]
    clauses = contracts.merge_documents([contracts.parse_clauses(body) for body in kept])
    return f"<merged>\n{contracts.render_body(clauses).strip()}\n</merged>"


@pytest.mark.parametrize("module", [sorting, set_intersection, keyword_counting])
def test_a_model_without_turns_is_stopped_where_it_makes_up_another_problem(module: Any) -> None:
    """Of several lists the last one counts, which would be that of the other problem."""
    for template in module.builtin_templates(module.__name__.rpartition(".")[2])["plain"].values():
        head = template.text.partition(":")[0]
        assert template.stop == (f"\n\n{head}:",)
        assert f"\n\n{head}:" in f"{template.shared}{template.text}", "as the model has seen it"


@pytest.mark.parametrize(
    ("module", "task", "answer"),
    [
        (sorting, sorting.Sorting(), sort),
        (set_intersection, set_intersection.SetIntersection(), intersect),
        (keyword_counting, keyword_counting.KeywordCounting(), count),
        (document_merging, document_merging.DocumentMerging(), merge),
    ],
)
def test_graph_of_thoughts_comes_to_the_answer_by_improving(
    module: Any, task: Any, answer: Callable[[Prompt], str]
) -> None:
    outcome = searched(GraphOfThoughts(), module, task, answer)
    assert outcome.done.error is None
    assert outcome.done.solved
    assert outcome.done.best is not None
    assert len(outcome.done.best) > 1, "an improved answer"


def play(prompt: Prompt) -> str:
    """Proposes a wrong way and two right ones, knows whether numbers lead to the target, and puts steps together."""
    target = int((re.findall(r"Target: (\d+)", prompt.text) or ["24"])[0])
    numbers = [Fraction(number) for number in re.findall(r"Numbers: (.*)", prompt.text)[0].split()]
    whole = [int(number) for number in numbers if number.denominator == 1]
    if "List promising next steps" in prompt.text:
        ways = [(countdown.reaches(after, target), text) for text, after in steps(numbers)]
        return "\n".join([text for leads, text in ways if not leads][:1] + [text for leads, text in ways if leads][:2])
    if "Steps:\n" in prompt.text:
        [(_, expression)] = (
            countdown.after_steps(whole, prompt.text.partition("Steps:\n")[2].partition("\n\n")[0]) or []
        )
        return f"Answer: {expression}"
    judged = re.findall(r"Expression: (.*)", prompt.text)
    leads = countdown.makes(judged[0], whole, target) if judged else countdown.reaches(numbers, target)
    return f"Let me see.\n{'sure' if leads else 'impossible'}"


def steps(numbers: list[Fraction]) -> list[tuple[str, list[Fraction]]]:
    """Each step, and the numbers behind it."""
    found = []
    for operator, i, j in product("+-*/", range(len(numbers)), range(len(numbers))):
        if i != j and (operator != "/" or numbers[j]):
            result = countdown.apply(numbers[i], operator, numbers[j])
            after = [result, *(number for at, number in enumerate(numbers) if at not in (i, j))]
            left = " ".join(map(str, after))
            found.append((f"{numbers[i]} {operator} {numbers[j]} = {result} (left: {left})", after))
    return found


def test_tree_of_thoughts_proposes_and_judges_its_way_to_24() -> None:
    search = TreeOfThoughts(k=36, b=5, generate="propose")
    task = game_of_24.GameOf24()
    outcome = searched(search, game_of_24, task, play, inline_scorer=Value(samples=1))
    assert (outcome.done.error, outcome.done.solved) == (None, True)
    assert outcome.done.best is not None
    assert len(outcome.done.best) == 4, "three steps and the answer"


def test_a_chat_model_votes_for_one_of_the_lists_that_it_is_shown() -> None:
    lengths = iter((6, 6, 5, 6))

    def answer(prompt: Prompt) -> str:
        if prompt.text.endswith("in square brackets alone."):
            return str(sorted(lists(prompt.text)[0])[: next(lengths)])
        shown = {len(json.loads(made)): number for number, made in re.findall(r"Solution (\d):\n(.*)", prompt.text)}
        return str(shown[5])

    search = TreeOfThoughts(k=4, b=1, steps=1, evaluate="vote", n_vote=3)
    outcome = searched(search, sorting, sorting.Sorting(length=6), answer)
    assert (outcome.done.error, len(outcome.done.answer)) == (None, 5)
