"""Numbers with two digits for training: intersections of sets, and countdown."""

import random
from collections.abc import Iterator, Sequence

LARGEST = 99
_SET_NUMBERS = 64


def _spaced(numbers: Sequence[int]) -> str:
    return " ".join(map(str, numbers))


def meet_problem(rng: random.Random, count: int) -> tuple[str, str]:
    """`meet 3 17 4+17 9 3=` and `3 17`: two sets of up to `count` numbers below 64, and what is in both, ascending."""
    left = rng.sample(range(_SET_NUMBERS), rng.randint(1, count))
    others = sorted(set(range(_SET_NUMBERS)) - set(left))
    num_common = rng.randint(0, len(left))
    num_others = rng.randint(0 if num_common else 1, max(1, min(len(others), count - num_common)))
    right = [*rng.sample(left, num_common), *rng.sample(others, num_others)]
    rng.shuffle(right)
    return f"meet {_spaced(left)}+{_spaced(right)}=", _spaced(sorted(set(left) & set(right)))


def steps(numbers: Sequence[int]) -> list[tuple[str, list[int]]]:
    """Each operation on two numbers with a whole result from 0 to 999, as `9-4=5`, and the numbers that are left."""
    found = []
    for i, first in enumerate(numbers):
        for j, second in enumerate(numbers):
            if i == j:
                continue
            rest = [number for k, number in enumerate(numbers) if k not in (i, j)]
            results = {"+": first + second, "*": first * second, "-": first - second}
            if second and first % second == 0:
                results["/"] = first // second
            found += [
                (f"{first}{sign}{second}={result}", sorted([*rest, result]))
                for sign, result in results.items()
                if 0 <= result <= 999
            ]
    return found


def countdown_problem(rng: random.Random, count: int) -> tuple[str, str]:
    """`make 24 4 5 6 10:` and lines such as `4*5=20,6 10 20` down to `20+4=24,24`: operation, then what is left.

    `count` numbers from 1 to 13. The target is what a random walk has come to, or in half of the texts 24.
    """
    while True:
        numbers = [rng.randint(1, 13) for _ in range(count)]
        lines = _walk(rng, numbers) if rng.random() < 0.5 else next(_ways_to(rng, numbers, 24), None)
        if lines is not None:
            target = lines[-1].rpartition(",")[2]
            return f"make {target} {_spaced(numbers)}:", "\n".join(lines)


def reaches(prompt: str, text: str) -> bool:
    """Whether every line is a step from the numbers before it, and the last one comes to the target."""
    target, *given = prompt.removeprefix("make ").removesuffix(":").split(" ")
    left = [int(number) for number in given]
    for line in text.split("\n"):
        after = {f"{step},{_spaced(numbers)}": numbers for step, numbers in steps(left)}
        if line not in after:
            return False
        left = after[line]
    return _spaced(left) == target


def _walk(rng: random.Random, numbers: list[int]) -> list[str] | None:
    lines = []
    while len(numbers) > 1:
        step, numbers = rng.choice(steps(numbers))
        lines.append(f"{step},{_spaced(numbers)}")
    return lines if numbers[0] <= LARGEST else None


def _ways_to(rng: random.Random, numbers: list[int], target: int) -> Iterator[list[str]]:
    """Ways to the target, in random order."""
    if len(numbers) == 1:
        if numbers[0] == target:
            yield []
        return
    choices = steps(numbers)
    rng.shuffle(choices)
    tried: set[tuple[int, ...]] = set()
    for step, left in choices:
        if tuple(left) not in tried:
            tried.add(tuple(left))
            for after in _ways_to(rng, left, target):
                yield [f"{step},{_spaced(left)}", *after]
