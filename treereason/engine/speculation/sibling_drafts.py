"""Drafts from the problem's own forest: its prompts, siblings that are ahead, and earlier thoughts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from weakref import WeakKeyDictionary, WeakSet

from treereason.engine.kv.forest import RUN, Node, Owner
from treereason.engine.schedule.branch import Branch
from treereason.engine.schedule.draft import Draft
from treereason.engine.speculation.suffix_index import CONTEXTS, Follower, Place, SuffixIndex

MOST_MATCHED = 16
"""Longer matches have the same chances."""


class SiblingDrafts:
    """Proposes how other texts of the same problem went on after the same last tokens.

    depth: most tokens of a draft that follow each other. width: most texts that it reads on in, found by contexts of
    different lengths.

    Texts come into the index when a branch behind them is first proposed for. Prompts that all problems share have an
    index of their own.
    """

    def __init__(self, depth: int, width: int = 1) -> None:
        self._depth = depth
        self._width = width
        self._indexes: dict[Owner, SuffixIndex] = {}
        self._followers: WeakKeyDictionary[Branch, Follower] = WeakKeyDictionary()
        self._read: WeakSet[Node] = WeakSet()

    def propose(self, branches: Sequence[Branch]) -> list[Draft]:
        """As in Drafter."""
        return [self._propose(branch) for branch in branches]

    def forget(self, problem: str) -> None:
        """As in Drafter."""
        self._indexes.pop(problem, None)

    def _propose(self, branch: Branch) -> Draft:
        index = self._index(branch.problem)
        follower = self._followers.get(branch)
        if follower is None:
            follower = self._followers[branch] = self._start(branch)
        index.grow(follower, branch.node.tokens[len(follower.tokens) - follower.num_before :])
        found = list(self._places(branch.problem, follower))
        if not found:
            return Draft()
        (tokens, at), matched = found[0]
        follower.source, follower.matched = (tokens, at), matched
        draft = Draft.chain(tokens[at : at + self._depth], min(matched, MOST_MATCHED))
        for (tokens, at), matched in found[1:]:
            draft.add(tokens[at : at + self._depth], min(matched, MOST_MATCHED))
        return draft

    def _places(self, problem: str, follower: Follower) -> Iterator[tuple[Place, int]]:
        """Where to read on, best first: up to `width` places that go on by different tokens."""
        source, matched, tokens = follower.source, follower.matched, follower.tokens
        heads: set[int] = set()
        followed = source is not None and source[1] < len(source[0])
        if followed and (matched >= CONTEXTS[0] and self._width == 1):
            assert source is not None
            yield source, matched
            return
        more_than = matched if followed and self._width == 1 else 0
        places = [*self._index(problem).find(tokens, more_than), *self._index(RUN).find(tokens, more_than)]
        if followed and source is not None:
            places.append((source, matched))
        places.sort(key=lambda place: -place[1])
        for (text, at), length in places:
            if len(heads) < self._width and text[at] not in heads:
                heads.add(text[at])
                yield (text, at), length

    def _start(self, branch: Branch) -> Follower:
        """Reads what lies above a branch, if nobody has."""
        before: list[int] = []
        for node in branch.node.path()[:-1]:
            if node not in self._read:
                self._read.add(node)
                self._index(node.owner).add(before + node.tokens, len(before))
            before = (before + node.tokens)[-CONTEXTS[0] :]
        self._read.add(branch.node)
        return Follower(before, num_before=len(before))

    def _index(self, owner: Owner) -> SuffixIndex:
        return self._indexes.setdefault(owner, SuffixIndex())
