"""Number sets, a target, and the exact question whether + - * / lead from the one to the other (game of 24, countdown).

All arithmetic is on fractions, so 3/(1-2/3) counts and nothing is rounded. An expression is text such as
`(10 - 4) * (9 - 5)`; it is read, never evaluated as code. A step is a line `4 + 5 = 9 (left: 6 9 10)`, or short
`4+5=9,6 9 10`.
"""

import ast
import random
import re
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import combinations

from treereason.core import Finish, Thought
from treereason.tasks.steps import solution_text

LARGEST = 13
"""Generated numbers are 1..13, as on playing cards."""
_NUMBER = r"(-?[0-9]{1,6}(?:[/.][0-9]{1,6})?)"
_STEP = re.compile(rf"{_NUMBER} ?([-+*/]) ?{_NUMBER} ?= ?{_NUMBER}(?:,| ?\([Ll]eft:)([-0-9/., ]+)\)?(?!\w)")
_ANSWER = re.compile(r"\b[Aa]nswer:([^=\n]+)")
_PLAIN_SIGNS = str.maketrans("×·÷−–", "**/--")
_EXPRESSION = re.compile(r"[0-9+*/() -]{1,200}")
_OPERATORS: dict[type[ast.operator], str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}

Left = list[tuple[Fraction, str]]
"""The numbers that are left, each with the expression that made it."""


def apply(left: Fraction, operator: str, right: Fraction) -> Fraction:
    """`left operator right` for one of + - * /. Raises ValueError for a division by 0."""
    if operator == "/":
        if not right:
            raise ValueError(f"{left}/0 is no number")
        return left / right
    return left + right if operator == "+" else left - right if operator == "-" else left * right


def reaches(numbers: Sequence[Fraction | int], target: Fraction | int) -> bool:
    """Whether some expression that uses each number once has exactly the value `target`."""
    return _reaches(tuple(sorted(map(Fraction, numbers))), Fraction(target))


@lru_cache(maxsize=1 << 14)
def _reaches(numbers: tuple[Fraction, ...], target: Fraction) -> bool:
    if len(numbers) < 2:
        return numbers == (target,)
    for i, j in combinations(range(len(numbers)), 2):
        rest = [number for at, number in enumerate(numbers) if at not in (i, j)]
        if any(_reaches(tuple(sorted([*rest, made])), target) for made in _joined(numbers[i], numbers[j])):
            return True
    return False


def _joined(a: Fraction, b: Fraction) -> set[Fraction]:
    """All that one operation makes of two numbers."""
    found = {a + b, a - b, b - a, a * b}
    return found | ({a / b} if b else set()) | ({b / a} if a else set())


def generate_numbers(rng: random.Random, count: int, target: int) -> list[int]:
    """`count` numbers of 1..13, in random order, that reach the target: 3 or more reach each of 1..99."""
    while not reaches(numbers := [rng.randint(1, LARGEST) for _ in range(count)], target):
        pass
    return numbers


def evaluate(expression: str) -> tuple[Fraction, list[int]]:
    """Exact value of an expression, and the numbers in it from left to right.

    Raises ValueError for a division by 0, for more than 200 characters, and for all but whole numbers, + - * / and
    parentheses; a sign is no operation.
    """
    if not _EXPRESSION.fullmatch(expression):
        raise ValueError(f"not an expression of numbers and + - * / ( ): {expression[:200]!r}")
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
    except SyntaxError:
        raise ValueError(f"not an expression: {expression!r}") from None
    numbers: list[int] = []
    return _value(tree, numbers), numbers


def _value(node: ast.expr, numbers: list[int]) -> Fraction:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        numbers.append(node.value)
        return Fraction(node.value)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left = _value(node.left, numbers)
        return apply(left, _OPERATORS[type(node.op)], _value(node.right, numbers))
    raise ValueError("not an expression: numbers are joined by + - * / alone")


def makes(expression: str | None, numbers: Sequence[int], target: int) -> bool:
    """Whether there is an expression, and it uses each number once and has exactly the value `target`."""
    if expression is None:
        return False
    try:
        value, used = evaluate(expression)
    except ValueError:
        return False
    return value == target and sorted(used) == sorted(numbers)


def stated(text: str) -> str | None:
    """The expression behind the first `Answer:` in a text, without what is put around or behind it; None for none."""
    found = _ANSWER.search(text.translate(_PLAIN_SIGNS))
    return found[1].strip(" \t\r.*$`") or None if found else None


def after_step(state: Left, line: str) -> Left | None:
    """What the first step in a line leaves of the numbers; None where there is none by the rules.

    Its two numbers must be there, and it must state the right result and just the numbers that are left, in any order.
    """
    rest = list(state)
    if (step := _STEP.search(line.translate(_PLAIN_SIGNS))) is None:
        return None
    try:
        first, second, result = (Fraction(step[i]) for i in (1, 3, 4))
        taken = [rest.pop([value for value, _ in rest].index(number))[1] for number in (first, second)]
        rest.append((apply(first, step[2], second), f"({taken[0]} {step[2]} {taken[1]})"))
        claimed = sorted(map(Fraction, step[5].replace(",", " ").split()))
    except (ArithmeticError, ValueError):
        return None
    return rest if rest[-1][0] == result and claimed == sorted(value for value, _ in rest) else None


def after_steps(numbers: Sequence[int], text: str) -> Left | None:
    """What some steps leave of the numbers, one step a line; None where a line is none by the rules."""
    state: Left = [(Fraction(number), str(number)) for number in numbers]
    for line in filter(str.strip, text.splitlines()):
        if (after := after_step(state, line)) is None:
            return None
        state = after
    return state


def left(thought: Thought) -> Left | None:
    """What the steps down to this thought leave of the numbers; None where a line is no step by the rules."""
    text, cut = solution_text(thought), thought.finish is Finish.LENGTH
    return None if cut else after_steps(thought.problem.input, text)


def next_line(state: Left, line: str) -> str | None:
    """The step that a line proposes, in its long form, or the answer line when one number is left; None for neither."""
    if len(state) == 1:
        answer = stated(line)
        return answer and f"Answer: {answer}"
    step, after = _STEP.search(line.translate(_PLAIN_SIGNS)), after_step(state, line)
    if step is None or after is None:
        return None
    first, second, result = (Fraction(step[i]) for i in (1, 3, 4))
    return f"{first} {step[2]} {second} = {result} (left: {spaced(after)})"


def spaced(state: Left) -> str:
    """The numbers of a state in ascending order, as the text behind `left:`."""
    return " ".join(str(number) for number in sorted(number for number, _ in state))
