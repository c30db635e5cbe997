"""A scorer of arithmetic's steps that knows the truth: lines that keep the value of the line before them."""

from treereason.core import Score, Thought, oracle
from treereason.tasks.generators import arithmetic
from treereason.tasks.steps import solution_text


@oracle
def steps_hold(thought: Thought) -> Score:
    """Share of lines that keep the value of the line before them, 0 without lines; the answer line counts as one.

    It never looks at the target but evaluates the question, which is as good. Raises ValueError for a question that
    is not an arithmetic expression.
    """
    question, text = thought.problem.input, solution_text(thought)
    verdicts = arithmetic.check_steps(question, text)
    if thought.answer is not None and verdicts:
        last = text.split("\n")[len(verdicts) - 1]
        verdicts.append(_equals(last[1:], thought.answer))
    if not verdicts:
        return Score(0.0)
    return Score(sum(verdicts) / len(verdicts), final=thought.answer is not None and all(verdicts))


def _equals(expression: str, answer: int | str) -> bool:
    try:
        return arithmetic.evaluate(expression) == answer
    except ValueError:
        return False
