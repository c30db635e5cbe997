"""Digit lists for training: sort, merge and fix problems, each a (prompt, answer) pair of texts."""

import random


def _digits(rng: random.Random, count: int) -> str:
    return "".join(rng.choices("0123456789", k=count))


def _sorted(digits: str) -> str:
    return "".join(sorted(digits))


def sort_problem(rng: random.Random, count: int) -> tuple[str, str]:
    """`sort 8652=` and the `count` digits in ascending order."""
    digits = _digits(rng, count)
    return f"sort {digits}=", _sorted(digits)


def merge_problem(rng: random.Random, count: int) -> tuple[str, str]:
    """`merge 0023+1445=` and all digits in ascending order: two sorted lists, `count` digits together."""
    first = count // 2 if rng.random() < 0.6 else rng.randint(1, count - 1)
    digits = _digits(rng, count)
    return f"merge {_sorted(digits[:first])}+{_sorted(digits[first:])}=", _sorted(digits)


def spoil(rng: random.Random, digits: str) -> str:
    """A plausibly wrong sort of `digits`: most often one to three digits lost, doubled, changed or out of place."""
    attempt = sorted(digits)
    for _ in range(rng.choice((0, 1, 1, 1, 2, 2, 3))):
        place = rng.randrange(len(attempt))
        slip = rng.random()
        if slip < 0.4 and len(attempt) > 1:
            del attempt[place]
        elif slip < 0.8:
            attempt.insert(place, attempt[place])
        elif slip < 0.9:
            attempt[place] = rng.choice("0123456789")
        else:
            attempt.insert(rng.randrange(len(attempt)), attempt.pop(place))
    return "".join(attempt)


def fix_problem(rng: random.Random, count: int) -> tuple[str, str]:
    """`fix 31415:11345=` and the right order: `count` digits as they were given, then a doubtful attempt."""
    digits = _digits(rng, count)
    return f"fix {digits}:{spoil(rng, digits)}=", _sorted(digits)
