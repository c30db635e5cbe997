"""A draft: tokens that are proposed to follow a branch, as a tree, and where they lie in a step.

A draft changes no answer: its tokens are computed beside the branch's last one, and one is taken only where it equals
the token that is drawn there, as without a draft (Leviathan et al. 2023 take by chance what keeps the distribution;
here a draw is a pure function of path, position and logits, so that equality is enough, as in Daliri et al. 2024).
Token trees: Miao et al. 2023 (SpecInfer).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from treereason.engine.kv.forest import Forest, Node
from treereason.engine.schedule.branch import Branch


@dataclass(frozen=True)
class Draft:
    """Proposed tokens; `tokens[i]` follows `tokens[parents[i]]`, or the branch's last token where that is -1.

    Parents come before children, and no two children of one are the same token. levels: for each token, a number by
    which its chances are learned, as the number of tokens that matched before it.
    """

    tokens: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    levels: list[int] = field(default_factory=list)

    @classmethod
    def chain(cls, tokens: list[int], first_level: int = 0) -> Draft:
        """One token after another."""
        count = len(tokens)
        return cls(tokens, list(range(-1, count - 1)), list(range(first_level, first_level + count)))

    def add(self, tokens: list[int], first_level: int = 0) -> None:
        """Let these tokens follow the branch too: one more path, which may begin as another does."""
        parent = -1
        known = {(above, token): i for i, (above, token) in enumerate(zip(self.parents, self.tokens, strict=True))}
        for level, token in enumerate(tokens, first_level):
            if (parent, token) not in known:
                known[parent, token] = len(self.tokens)
                self.tokens.append(token)
                self.parents.append(parent)
                self.levels.append(level)
            parent = known[parent, token]

    def depths(self) -> list[int]:
        """Of each token, how many come before it in the draft."""
        depths: list[int] = []
        for parent in self.parents:
            depths.append(depths[parent] + 1 if parent >= 0 else 0)
        return depths

    def only(self, kept: list[int]) -> Draft:
        """The draft of these tokens alone, by ascending index; with each token its parents."""
        new = {-1: -1} | {index: i for i, index in enumerate(kept)}
        return Draft(
            [self.tokens[i] for i in kept], [new[self.parents[i]] for i in kept], [self.levels[i] for i in kept]
        )


@dataclass(frozen=True)
class LaidDraft:
    """A draft whose tokens have their pages. `places[i]`: node of token i, and its index in the node.

    num_own: tokens of the branch's node that are its own. A draft that forks has nodes of its own below: `sprouts`.
    """

    branch: Branch
    draft: Draft
    num_own: int
    places: list[tuple[Node, int]]
    sprouts: list[Node]

    def take_back(self, forest: Forest) -> None:
        """Leave the branch's node as it was, but for its pages, in which what was computed still lies."""
        node = self.branch.node
        del node.tokens[self.num_own :]
        node.num_cached = self.num_own
        for sprout in reversed(self.sprouts):
            forest.fell(sprout)

    def next_of(self, index: int, token: int) -> int | None:
        """Which token of the draft follows its `index`-th one (-1: the branch's last) and is this one."""
        draft = self.draft
        for i in range(index + 1, len(draft.tokens)):
            if draft.parents[i] == index and draft.tokens[i] == token:
                return i
        return None


def lay(forest: Forest, branch: Branch, draft: Draft) -> LaidDraft | None:
    """Put a draft below a branch whose tokens are all stored, or about to be; None if too few pages are free.

    Tokens up to a fork lie in the branch's own node, as more of its rows; those behind a fork in nodes below it.
    """
    node, num_own = branch.node, len(branch.node.tokens)
    assert node.growing
    assert node.num_cached == num_own
    children: dict[int, list[int]] = {}
    for i, parent in enumerate(draft.parents):
        children.setdefault(parent, []).append(i)
    runs = _runs(children)
    depth = max(draft.depths(), default=-1) + 1
    # The branch's node gets room for the longest path: what is taken moves there.
    lacking = forest.pages_lacking(node, depth) + sum(-(-len(run) // forest.page_size) for _, run in runs[1:])
    if lacking > forest.pool.num_free:
        return None
    forest.lend(node, [draft.tokens[i] for i in runs[0][1]], depth)
    places = {index: (node, num_own + i) for i, index in enumerate(runs[0][1])}
    nodes = [node]
    for above, run in runs[1:]:
        sprout = forest.sprout(nodes[above], [draft.tokens[i] for i in run])
        nodes.append(sprout)
        places |= {index: (sprout, i) for i, index in enumerate(run)}
    return LaidDraft(branch, draft, num_own, [places[i] for i in range(len(draft.tokens))], nodes[1:])


def _runs(children: dict[int, list[int]]) -> list[tuple[int, list[int]]]:
    """The draft cut at its forks: runs of tokens, each with the number of the run that it follows; the first follows
    the branch, and may be empty.
    """
    runs: list[tuple[int, list[int]]] = []
    waiting: list[tuple[int, list[int]]] = [(-1, children.get(-1, []))]
    if len(waiting[0][1]) > 1:
        runs.append((-1, []))
        waiting = [(0, [head]) for head in waiting[0][1]]
    while waiting:
        above, heads = waiting.pop(0)
        run: list[int] = []
        while len(heads) == 1:
            run.append(heads[0])
            heads = children.get(heads[0], [])
        waiting += [(len(runs), [head]) for head in heads]
        runs.append((above, run))
    return runs
