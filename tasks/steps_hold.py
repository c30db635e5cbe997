"""A scorer of arithmetic's steps that knows the truth: lines that keep the value of the line before them."""

import re

from treereason.core import Score, Thought, oracle
from treereason.tasks.generators import arithmetic
from treereason.tasks.steps import solution_text

_SUM = r"[0-9]{1,6}(?: ?[-+*×] ?[0-9]{1,6})*"
_EQUATION = re.compile(rf"(?<![-+*×/.0-9=])(?<![-+*×/=] ){_SUM}(?: ?= ?{_SUM})+(?! ?[-+*×/=.]?[0-9=])")


@oracle
def steps_hold(thought: Thought) -> Score:
    """Share of steps that are right, 0 without steps; the answer counts as one.

    A step is a line `=22`, which keeps the value of the line before it, or, in a text without such lines, an equation
    of numbers such as `2 + 20 = 22`, wherever it stands. It never looks at the target but evaluates the question, which
    is as good. Raises ValueError for a question that is not an arithmetic expression.
    """
    question, text = thought.problem.input, solution_text(thought)
    verdicts = arithmetic.check_steps(question, text)
    if verdicts and thought.answer is not None:
        last = text.split("\n")[len(verdicts) - 1]
        verdicts.append(_equals(last[1:], thought.answer))
    elif not verdicts and arithmetic.parse_answer(text) is None:
        verdicts = [_holds(equation) for equation in _EQUATION.findall(text)]
        if thought.answer is not None:
            verdicts.append(_equals(question, thought.answer))
    if not verdicts:
        return Score(0.0)
    return Score(sum(verdicts) / len(verdicts), final=thought.answer is not None and all(verdicts))


def _holds(equation: str) -> bool:
    sides = "".join(equation.split()).replace("×", "*").split("=")
    return len({arithmetic.evaluate(side) for side in sides}) == 1


def _equals(expression: str, answer: int | str) -> bool:
    try:
        return arithmetic.evaluate(expression) == answer
    except ValueError:
        return False
