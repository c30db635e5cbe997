"""Thoughts as bytes for another process: each with its ancestors, however deep, and nothing else of the tree."""

import pickle

from treereason.core import Cost, Score, Status, Thought


def dump(thought: Thought) -> bytes:
    """The thought and its ancestors; raises whatever pickle raises for an answer or input it cannot take."""
    order = _ancestors_first(thought)
    place = {id(each): i for i, each in enumerate(order)}
    records = [
        (
            each.path,
            tuple(place[id(parent)] for parent in each.parents),
            each.text,
            each.answer,
            each.score and (each.score.value, each.score.final),
            each.status.value,
            each.error,
            each.logprob,
            each.num_children,
            (each.cost.tokens_prefilled, each.cost.tokens_decoded, each.cost.tokens_reused),
        )
        for each in order
    ]
    return pickle.dumps((thought.problem, records), pickle.HIGHEST_PROTOCOL)


def load(data: bytes) -> Thought:
    """The thought that `dump` was given, as a copy."""
    problem, records = pickle.loads(data)
    thoughts: list[Thought] = []
    for path, parents, text, answer, score, status, error, logprob, num_children, cost in records:
        above = tuple(thoughts[i] for i in parents)
        verdict = Score(*score) if score is not None else None
        thoughts.append(
            Thought(
                problem, path, above, text, answer, verdict, Status(status), error, logprob, num_children, Cost(*cost)
            )
        )
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
