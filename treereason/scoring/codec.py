"""Thoughts as bytes for another process: each with its ancestors, however deep, and nothing else of the tree."""

import pickle
from dataclasses import fields

from treereason.core import Thought

_OWN = [field.name for field in fields(Thought) if field.name not in ("problem", "parents")]


def dump(thought: Thought) -> bytes:
    """The thought and its ancestors; raises whatever pickle raises for an answer or input it cannot take."""
    order = _ancestors_first(thought)
    place = {id(each): i for i, each in enumerate(order)}
    records = [
        (tuple(place[id(parent)] for parent in each.parents), [getattr(each, name) for name in _OWN]) for each in order
    ]
    return pickle.dumps((thought.problem, records), pickle.HIGHEST_PROTOCOL)


def load(data: bytes) -> Thought:
    """The thought that `dump` was given, as a copy."""
    problem, records = pickle.loads(data)
    thoughts: list[Thought] = []
    for parents, own in records:
        above = tuple(thoughts[i] for i in parents)
        thoughts.append(Thought(problem, parents=above, **dict(zip(_OWN, own, strict=True))))
    return thoughts[-1]


def _ancestors_first(thought: Thought) -> list[Thought]:
    # A loop and not recursion: a chain of thoughts may be deeper than Python's stack.
    order: list[Thought] = []
    seen: set[int] = set()
    stack: list[tuple[Thought, bool]] = [(thought, False)]
    while stack:
        each, expanded = stack.pop()
        if expanded:
            order.append(each)
        elif id(each) not in seen:
            seen.add(id(each))
            stack.append((each, True))
            stack.extend((parent, False) for parent in each.parents)
    return order
