"""Why a problem has no answer, in words that lead on."""

from __future__ import annotations

from treereason.controller.growth import Growth
from treereason.core import Status

NO_ANSWER = "no thought holds an answer"


def why_no_answer(growth: Growth) -> str:
    """One line: what became of a problem's thoughts of which none fails and none can be the answer."""
    if not growth.thoughts:
        return f"{NO_ANSWER}: none was made"
    num_pruned = sum(thought.status is Status.PRUNED for thought in growth.thoughts)
    what = {
        "cut at max_tokens": growth.num_cut,
        "empty": growth.num_empty,
        "pruned": num_pruned,
    }
    told = [f"{count} {name}" for name, count in what.items() if count]
    if growth.budget.tokens_left == 0:
        told.append("budget.tokens were spent")
    return f"{NO_ANSWER}: of {len(growth.thoughts)} thoughts, {', '.join(told)}" if told else NO_ANSWER
