"""Judges: scorers that ask the run's own model about a thought, behind the thought's tokens, whose KV is there already.

A task may have questions of its own: the template "verdict" of a style asks what one of its `choices` answers,
`judge_prompt(thought, style)` asks for a grade, which `parse_value(text)` reads. Where it has none, models of the
styles chat and plain are asked in general words. The terse format of the included model has no such words.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from treereason.core.errors import UserError
from treereason.core.prompt import Prompt
from treereason.core.protocols import Tree, judge
from treereason.core.thought import Thought

VERDICT, CHOICES = "\n\nIs everything up to here right? Answer yes or no:", (" yes", " no")
GRADE = Prompt(
    "\n\nHow sure is it that this leads to the right answer? Give a grade from 1 (impossible) to 10 (sure).\nGrade:",
    appended=True,
    stop=("\n",),
    max_tokens=8,
)
HIGHEST = 10
NO_TIME = "the problem's budget left nothing for its judge"
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


@judge
@dataclass(frozen=True)
class YesNo:
    """Probability of yes against no, when the model is asked whether all is right up to here. Decodes no token.

    P(True) of Kadavath et al. 2022 (arXiv 2207.05221), put behind the thought instead of into a prompt of its own. Of
    a task's own verdict: the probability of the first of its choices, among them.
    """

    @staticmethod
    def refusal(task: object, config: Any) -> str | None:
        """Why it cannot judge for a task, None where it can."""
        return _unless(_verdict(task, config.model.style) is not None, 'template "verdict"', task, config.model.style)

    async def __call__(self, thought: Thought, tree: Tree) -> float:
        template = _verdict(tree.task, tree.style)
        text, choices = (VERDICT, CHOICES) if template is None else (template.text, template.choices)
        answers = await tree.write(thought, choices, Prompt(text, appended=True), part=True)
        tree.drop(answers)
        logprobs = [answer.logprob for answer in _whole(answers) if answer.logprob is not None]
        if len(logprobs) < len(choices):
            raise ValueError("the server tells no log-probabilities")
        likeliest = max(logprobs)
        shares = [math.exp(logprob - likeliest) for logprob in logprobs]
        return shares[0] / math.fsum(shares)


@judge
@dataclass(frozen=True)
class Value:
    """Mean of the grades that the model writes, asked `judge.samples` times how sure this leads to the right answer.

    Value prompts of Yao et al. 2023 (arXiv 2305.10601, section 3). The task reads its own grades; those of the general
    prompt are from 0.1 to 1. One that cannot be read counts as 0.
    """

    option_group = "judge"

    samples: int = 3

    @staticmethod
    def refusal(task: object, config: Any) -> str | None:
        """Why it cannot judge for a task, None where it can."""
        return _unless(hasattr(task, "judge_prompt"), "judge_prompt", task, config.model.style)

    async def __call__(self, thought: Thought, tree: Tree) -> float:
        own = _question("judge_prompt", thought, tree)
        read = parse_grade if own is None else tree.task.parse_value  # type: ignore[attr-defined]
        written = await tree.expand([thought], self.samples, prompt=own or GRADE, part=True)
        tree.drop(written)
        grades = [read(each.text) for each in _whole(written)]
        return math.fsum(grade or 0.0 for grade in grades) / len(grades)


@judge
@dataclass(frozen=True)
class Vote:
    """Share of votes, when the model compares all thoughts that are scored together, `judge.samples` times.

    Vote prompts of Yao et al. 2023 (arXiv 2305.10601, section 3). A task words its own in
    `vote_prompt(thoughts, style)`, to be answered by the number of the best one, from 1 on: the last number that the
    model writes is its vote. The prompt lists the thoughts, so it is one of its own, and reads nothing of their KV. A
    thought that is scored alone has all votes.
    """

    option_group = "judge"

    samples: int = 3

    @staticmethod
    def refusal(task: object, config: Any) -> str | None:
        """Why it cannot judge for a task, None where it can."""
        return _unless(hasattr(task, "vote_prompt"), "vote_prompt", task, config.model.style)

    async def __call__(self, thoughts: Sequence[Thought], tree: Tree) -> list[float]:
        if len(thoughts) == 1:
            return [1.0]
        prompt = _question("vote_prompt", thoughts, tree) or _ballot(thoughts, tree)
        written = await tree.join(thoughts, prompt, self.samples, part=True)
        tree.drop(written)
        numbers = [_NUMBER.findall(each.text) for each in _whole(written)]
        votes = Counter(found[-1] for found in numbers if found)
        return [votes[str(number)] / len(written) for number in range(1, len(thoughts) + 1)]


def parse_grade(text: str) -> float | None:
    """The first number of a text if it is from 1 to 10, as a share of 10; else None."""
    found = _NUMBER.search(text)
    grade = float(found[0]) if found else 0.0
    return grade / HIGHEST if 1 <= grade <= HIGHEST else None


def _verdict(task: object, style: str) -> Any:
    """The task's own template for a verdict, None where the style has none."""
    template = getattr(task, "template", None)
    try:
        return None if template is None else template(style, "verdict")
    except UserError:
        return None


def _question(method: str, asked: Thought | Sequence[Thought], tree: Tree) -> Prompt | None:
    """The task's own prompt; None where general words do. Raises ValueError for a style that does not know them."""
    own = getattr(tree.task, method, None)
    prompt: Prompt | None = None if own is None else own(asked, tree.style)
    if reason := _unless(prompt is not None, f"{method} for this thought", tree.task, tree.style):
        raise ValueError(reason)
    return prompt


def _unless(found: bool, what: str, task: object, style: str) -> str | None:
    if found or style != "embedded":
        return None
    return f"{type(task).__name__} has no {what} for models of style embedded, and those know no general words"


def _whole(made: Sequence[Thought]) -> Sequence[Thought]:
    """What a judge was answered. Raises ValueError for what failed, and for nothing."""
    for each in made:
        if each.error is not None:
            raise ValueError(each.error)
    if not made:
        raise ValueError(NO_TIME)
    return made


def _ballot(thoughts: Sequence[Thought], tree: Tree) -> Prompt:
    asked = tree.task.prompt(tree.root, tree.style)
    problem = (asked.text.strip() if asked is not None else "") or tree.root.problem.input
    listed = "".join(f"\n\nSolution {i}:\n{_solution(thought)}" for i, thought in enumerate(thoughts, start=1))
    return Prompt(
        f"Compare several solutions, finished or not, of one problem.\n\n{problem}{listed}\n\n"
        "Which solution is the best? Answer with its number alone.",
        max_tokens=8,
    )


def _solution(thought: Thought) -> str:
    """The texts from the root to the thought."""
    return "".join(each.text + each.stop for each in reversed(thought.ancestors())).strip()
