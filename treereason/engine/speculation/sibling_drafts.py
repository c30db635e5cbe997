"""Drafts from the problem's own forest: its prompts, siblings that are ahead, and earlier thoughts."""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakKeyDictionary, WeakSet

from treereason.engine.kv.forest import RUN, Node, Owner
from treereason.engine.schedule.branch import Branch
from treereason.engine.schedule.draft import Draft
from treereason.engine.speculation.suffix_index import CONTEXTS, Follower, SuffixIndex

MOST_MATCHED = 16
"""Longer matches have the same chances."""


class SiblingDrafts:
    """Proposes how another text of the same problem went on after the same last tokens. depth: most tokens of a draft.

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
        own = branch.node.tokens
        index.grow(follower, own[len(follower.tokens) - follower.num_before :])
        longest = CONTEXTS[0]
        if follower.source is None or follower.matched < longest or follower.source[1] >= len(follower.source[0]):
            more_than = follower.matched if follower.source else 0
            found = index.find(follower.tokens, more_than) or self._index(RUN).find(follower.tokens, more_than)
            if found is not None:
                follower.source, follower.matched = found
        if follower.source is None:
            return Draft()
        tokens, at = follower.source
        return Draft.chain(tokens[at : at + self._depth], min(follower.matched, MOST_MATCHED))

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
