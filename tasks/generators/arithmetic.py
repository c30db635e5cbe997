"""Integer expressions: generation, worked solutions, few-shot prompts, and a check of every solution line.

An expression is a string of decimal numbers 0..999 joined by `+`, `-` and `*`, without spaces or parentheses.
A question is `Q` and an expression, a worked solution rewrites one sub-expression per line, the answer ends it:

    Q2+4*5
    =2+20
    =22
    A22
"""

import random
import re
from collections.abc import Sequence

LARGEST = 999
_PRODUCTS = 0.3
_TOKEN = re.compile(r"\d{1,6}|[+*-]")
_ANSWER = re.compile(r"^A(\d{1,6})$")


def split_expression(expression: str) -> tuple[list[int], list[str]]:
    """Numbers and operators of an expression, in order: `2+4*5` gives ([2, 4, 5], ["+", "*"]).

    Raises ValueError when the text is not numbers of at most six digits joined by + - *.
    """
    parts = _TOKEN.findall(expression)
    numbers, operators = parts[0::2], parts[1::2]
    whole = "".join(parts) == expression and len(parts) % 2 == 1
    if not whole or not all(map(str.isdecimal, numbers)) or any(map(str.isdecimal, operators)):
        raise ValueError(f"not an expression of numbers joined by + - *: {expression!r}")
    return [int(number) for number in numbers], operators


def _join(numbers: Sequence[int], operators: Sequence[str]) -> str:
    pairs = zip(operators, numbers[1:], strict=True)
    return str(numbers[0]) + "".join(f"{operator}{number}" for operator, number in pairs)


def _apply(left: int, operator: str, right: int) -> int:
    if operator == "+":
        return left + right
    return left - right if operator == "-" else left * right


def evaluate(expression: str) -> int:
    """Value of an expression, products before sums; raises ValueError as split_expression does."""
    numbers, operators = split_expression(expression)
    total, sign, term = 0, 1, numbers[0]
    for operator, number in zip(operators, numbers[1:], strict=True):
        if operator == "*":
            term *= number
        else:
            total, sign, term = total + sign * term, 1 if operator == "+" else -1, number
    return total + sign * term


def generate_expression(rng: random.Random, operations: int) -> str:
    """One expression with `operations` operators, whose left-to-right partial sums stay within 0..999.

    Products have one factor of at most 9 and one of at most 99. Raises ValueError when operations < 1.
    """
    if operations < 1:
        raise ValueError(f"an expression needs at least one operation, not {operations}")
    numbers: list[int] = []
    operators: list[str] = []
    total = 0
    while len(numbers) <= operations:
        left = operations - len(numbers)
        operator = rng.choice("+-") if numbers else "+"
        if rng.random() < _PRODUCTS and left:
            factors = [rng.randint(2, 9), rng.randint(2, rng.choice((9, 99)))]
            rng.shuffle(factors)
        else:
            factors = [rng.randint(0, rng.choice((9, 99, 99, LARGEST)))]
        term = factors[0] * factors[-1] if len(factors) == 2 else factors[0]
        grown = _apply(total, operator, term)
        if 0 <= grown <= LARGEST:
            operators += [operator, "*"][: len(factors)] if numbers else ["*"][: len(factors) - 1]
            numbers += factors
            total = grown
    return _join(numbers, operators)


def near(rng: random.Random, value: int, count: int) -> list[int]:
    """So many different numbers of 0 or more, none of them `value`, at most 9 from it; count is at most 9."""
    numbers = [number for number in range(max(0, value - 9), value + 10) if number != value]
    return rng.sample(numbers, count)


def reductions(expression: str) -> list[str]:
    """All expressions that one operation on two neighbours away keep the value, with every number in 0..999.

    Empty for a single number; raises ValueError as split_expression does.
    """
    numbers, operators = split_expression(expression)
    found = []
    for i, operator in enumerate(operators):
        before = operators[i - 1] if i else "+"
        after = operators[i + 1] if i + 1 < len(operators) else "+"
        binds = before != "*" if operator == "*" else before == "+" and after != "*"
        result = _apply(numbers[i], operator, numbers[i + 1])
        if binds and 0 <= result <= LARGEST:
            reduced = [*numbers[:i], result, *numbers[i + 2 :]]
            found.append(_join(reduced, operators[:i] + operators[i + 1 :]))
    return found


def solve(expression: str, rng: random.Random) -> list[str]:
    """Lines of a worked solution without `=`: each reduces a random sub-expression, the last is a number.

    Raises ValueError when some partial sum leaves 0..999, so that no line can follow.
    """
    lines: list[str] = []
    while not expression.isdecimal():
        choices = reductions(expression)
        if not choices:
            raise ValueError(f"no step keeps every number of {expression!r} within 0..{LARGEST}")
        expression = rng.choice(choices)
        lines.append(expression)
    return lines


def render_question(expression: str) -> str:
    """The question with its line end, after which a solution is written: `Q2+4*5` and a newline."""
    return f"Q{expression}\n"


def render_solution(lines: Sequence[str], answer: int) -> str:
    """Solution text: an `=` line per element of `lines` (none: a direct answer), then `A` and the answer."""
    return "".join(f"={line}\n" for line in lines) + f"A{answer}"


def few_shot_prompt(examples: Sequence[tuple[str, str]], expression: str) -> str:
    """Solved (expression, solution text) pairs one after another, then the open question about `expression`.

    The examples decide whether the model writes its steps or the answer alone.
    """
    solved = "".join(f"{render_question(asked)}{solution}\n" for asked, solution in examples)
    return solved + render_question(expression)


def solved_examples(rng: random.Random, count: int, operations: int, *, steps: bool) -> list[tuple[str, str]]:
    """`count` pairs (expression, solution text) of `operations` operations, with steps or the answer only."""
    pairs = []
    for _ in range(count):
        expression = generate_expression(rng, operations)
        lines = solve(expression, rng) if steps else []
        pairs.append((expression, render_solution(lines, evaluate(expression))))
    return pairs


def parse_answer(text: str) -> int | None:
    """The number on the first line of the form `A22`, or None when there is none."""
    matches = (_ANSWER.match(line) for line in text.split("\n"))
    return next((int(match[1]) for match in matches if match), None)


def check_steps(expression: str, text: str) -> list[bool]:
    """Whether each leading `=` line of a solution keeps the value of the line before it, or of the question.

    A line that is not an expression gives False, and so does the line after it. The correct answer is not needed.
    Raises ValueError when `expression` itself is not an expression.
    """
    previous: int | None = evaluate(expression)
    verdicts = []
    for line in text.split("\n"):
        if not line.startswith("="):
            break
        try:
            value: int | None = evaluate(line[1:])
        except ValueError:
            value = None
        verdicts.append(value is not None and value == previous)
        previous = value
    return verdicts
