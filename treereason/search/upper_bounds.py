"""What Monte Carlo rollouts have seen, and the upper bounds that follow from it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from math import exp, fsum, inf, log, sqrt
from typing import Literal

from treereason.core import Thought


class Visits:
    """Values backed up through thoughts. A rollout in flight counts as one with the worst value seen: a virtual loss
    (Chaslot et al. 2008), which sends the next one elsewhere.

    backup: what a thought's value is, of all that were backed up through it. worst: the lowest value seen, 0 before.
    children: of the thoughts that were expanded. growing: those that are being expanded.
    """

    def __init__(self, backup: Literal["mean", "max"] = "mean") -> None:
        self.worst = 0.0
        self.children: dict[Thought, list[Thought]] = {}
        self.growing: set[Thought] = set()
        self._backup = backup
        self._values = defaultdict[Thought, list[float]](list)
        self._flying = Counter[Thought]()

    def start(self, path: Sequence[Thought]) -> None:
        """A rollout has selected these thoughts."""
        self._flying.update(path)

    def finish(self, path: Sequence[Thought], end: Thought) -> None:
        """The rollout has come to its end: the end's score goes to all thoughts above it."""
        self._flying.subtract(path)
        value = end.score.value if end.score is not None else self.worst
        self.worst = min(self.worst, value) if any(self._values.values()) else value
        for thought in end.ancestors():
            self._values[thought].append(value)

    def grown(self, thought: Thought, made: Sequence[Thought]) -> Thought:
        """The thought has been expanded into these; returns the best scored one, or itself where none has a score."""
        self.growing.remove(thought)
        self.children[thought] = [child for child in made if child.score is not None]
        return max(self.children[thought], key=value_of, default=thought)

    def num(self, thought: Thought) -> int:
        """How many rollouts have come through a thought, those in flight included."""
        return len(self._values[thought]) + self._flying[thought]

    def value(self, thought: Thought) -> float:
        """Of a thought that has been visited."""
        values = self._values[thought]
        if self._backup == "max":
            return max(values, default=self.worst)
        num = self.num(thought)  # divided first: scores may be as large as floats are
        return fsum(value / num for value in values) + self._flying[thought] / num * self.worst

    def highest(self, siblings: Sequence[Thought], policy: Literal["uct", "puct"], c: float) -> Thought:
        """The thought with the highest upper bound; of equals, the best scored one."""
        bounds = self.uct(siblings, c) if policy == "uct" else self.puct(siblings, c)
        return max(siblings, key=lambda thought: (bounds[thought], value_of(thought)))

    def uct(self, siblings: Sequence[Thought], c: float) -> dict[Thought, float]:
        """Upper confidence bounds (Kocsis and Szepesvari 2006), infinite for a thought that was never visited."""
        return {thought: self._uct(thought, c) if self.num(thought) else inf for thought in siblings}

    def puct(self, siblings: Sequence[Thought], c: float) -> dict[Thought, float]:
        """Upper bounds with priors (Silver et al. 2017); a thought that was never visited has its parent's value.

        A prior is the thought's share of exp(mean log-probability of its tokens), or an equal share where that is not
        known.
        """
        likely = [0.0 if t.logprob is None else exp(t.logprob / max(1, t.cost.tokens_decoded)) for t in siblings]
        total = fsum(likely)
        priors = [share / total if total else 1 / len(siblings) for share in likely]
        return {thought: self._puct(thought, c * prior) for thought, prior in zip(siblings, priors, strict=True)}

    def _uct(self, thought: Thought, c: float) -> float:
        return self.value(thought) + c * sqrt(log(self.num(thought.parents[0])) / self.num(thought))

    def _puct(self, thought: Thought, weight: float) -> float:
        [above] = thought.parents
        known = thought if self.num(thought) else above
        return self.value(known) + weight * sqrt(self.num(above)) / (1 + self.num(thought))


def value_of(thought: Thought) -> float:
    """A scored thought's score."""
    assert thought.score is not None
    return thought.score.value
