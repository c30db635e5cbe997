"""The token forest: every shared token is one entry of one node, whose KV lies in pages that the node alone owns.

A node's path from the root is the token sequence of a prompt or thought that ends there. Forking opens an empty child
and copies nothing; when a leaf loses its last reference, its pages return at once. A prompt shares the longest prefix
it can: whole nodes, and within a node whole pages, so that a split never copies KV either.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from treereason.engine.kv.pages import PagePool

Owner = str | None
"""A problem's id, or RUN."""
RUN: Owner = None
"""Owner of nodes that every problem may share: shared prefixes of prompts, kept for the whole run."""


@dataclass(eq=False, repr=False)
class Node:
    """A run of tokens. `tokens[:num_cached]` have their KV in `pages`; the rest wait to be computed.

    start: position of the first token along the path. num_references: how many thoughts, branches, prompts or shared
    prefixes need it. growing: a branch still appends to it, so nothing may attach below or inside. num_computed:
    most tokens that were ever stored; more than `num_cached` after an eviction. last_used: the step that last read or
    wrote it. reading: what a span policy has made of its tokens, kept by span_reader.py.
    """

    owner: Owner
    parent: Node | None
    start: int
    tokens: list[int] = field(default_factory=list)
    num_cached: int = 0
    pages: list[int] = field(default_factory=list)
    children: list[Node] = field(default_factory=list)
    num_references: int = 0
    growing: bool = False
    num_computed: int = 0
    last_used: int = 0
    reading: Any = None

    def __repr__(self) -> str:
        """Short, because a node holds all of the forest around it."""
        owner = "run" if self.owner is RUN else f"problem {self.owner!r}"
        tokens = f"{len(self.tokens)} tokens from {self.start} on, {self.num_cached} stored"
        return f"<Node of {owner}: {tokens}, {len(self.children)} children>"

    @property
    def end(self) -> int:
        """Position behind its last token."""
        return self.start + len(self.tokens)

    @property
    def num_pending(self) -> int:
        """Tokens that wait to be computed, for the first time or again."""
        return len(self.tokens) - self.num_cached

    def path(self) -> list[Node]:
        """Nodes from the root's child down to this one."""
        nodes: list[Node] = []
        node: Node = self
        while node.parent is not None:
            nodes.append(node)
            node = node.parent
        return nodes[::-1]

    def token_ids(self) -> list[int]:
        """All tokens from the root on."""
        return [token for node in self.path() for token in node.tokens]


class Forest:
    """All token trees of a run over one page pool. Counters are in tokens whose KV is stored.

    num_attached: tokens that prompts and given texts have added for problems so far, without what every problem shares.
    """

    def __init__(self, pool: PagePool, page_size: int) -> None:
        self.pool = pool
        self.page_size = page_size
        self.root = Node(owner=RUN, parent=None, start=0)
        self.num_tokens = 0
        self.num_tokens_peak = 0
        self.num_attached = 0
        self._owned: dict[Owner, int] = {}
        self._owned_peak: dict[Owner, int] = {}

    def attach(self, tokens: Sequence[int], owner: Owner, below: Node | None = None) -> Node:
        """A node that ends with `tokens` below `below` (the root when None), with a reference for the caller.

        Shares the longest prefix with nodes of the same owner or of the run. At least the last token is always
        new, so that computing the node yields its logits. Raises ValueError for no tokens.
        """
        if not tokens:
            raise ValueError("a prompt without tokens: give it some text")
        node = below or self.root
        done, last = 0, len(tokens) - 1
        while (found := self._best_child(node, tokens[done:last], owner)) is not None:
            child, shared = found
            node = child if shared == len(child.tokens) else self._split(child, shared)
            done += shared
        return self._attached(tokens[done:], node, owner)

    def attach_text(self, tokens: Sequence[int], owner: Owner, below: Node) -> Node:
        """As `attach`, for a text whose logits are wanted at every token; no tokens give `below` itself.

        Shares every token with what is already below. None of that may have been computed: its logits would be gone.
        """
        node, done = below, 0
        while done < len(tokens):
            child = next((child for child in node.children if child.tokens[0] == tokens[done]), None)
            if child is None:
                return self._attached(tokens[done:], node, owner)
            assert not child.num_computed
            shared = _num_common(tokens[done:], child.tokens)
            node = child if shared == len(child.tokens) else self._split(child, shared)
            done += shared
        node.num_references += 1
        return node

    def fork(self, node: Node, owner: Owner) -> Node:
        """An empty, growing child, with a reference for the caller: one more branch. Copies nothing."""
        branch = self._child(node, owner)
        branch.growing = True
        return branch

    def release(self, node: Node) -> None:
        """Give up one reference; nodes without any, on themselves or below, return their pages now."""
        node.num_references -= 1
        assert node.num_references >= 0
        while node.parent is not None and not node.num_references and not node.children:
            self.pool.release(node.pages)
            self._count(-node.num_cached)
            self._own(node.owner, -node.num_computed)
            node.parent.children.remove(node)
            node = node.parent

    def pages_lacking(self, node: Node, count: int) -> int:
        """Pages that the KV of the node's next `count` tokens still needs."""
        lacking = -(-(node.num_cached + count) // self.page_size) - len(node.pages)
        return lacking if lacking > 0 else 0

    def compute(self, node: Node, count: int) -> int:
        """Allocate pages for the KV of the node's next `count` tokens and count them as stored. Raises PoolFull.

        Returns how many of them had been stored before and were evicted.
        """
        if lacking := self.pages_lacking(node, count):
            node.pages += self.pool.allocate(lacking)
        num_rebuilt = 0
        if node.num_computed > node.num_cached:
            num_rebuilt = min(node.num_computed - node.num_cached, count)
        node.num_cached += count
        assert node.num_cached <= len(node.tokens)
        self._count(count)
        if node.num_computed < node.num_cached:
            self._own(node.owner, node.num_cached - node.num_computed)
            node.num_computed = node.num_cached
        return num_rebuilt

    def restore(self, node: Node) -> None:
        """Let all tokens down to the node's end be as if they had been computed and evicted since."""
        for part in node.path():
            self._own(part.owner, len(part.tokens) - part.num_computed)
            part.num_computed = len(part.tokens)

    def reserve_page(self, node: Node) -> bool:
        """Let a growing node have the page of its next token before that is known; False when no page is free."""
        assert node.growing
        if self.pages_lacking(node, 1):
            if not self.pool.num_free:
                return False
            node.pages += self.pool.allocate(1)
        return True

    def lend(self, node: Node, tokens: Sequence[int], depth: int) -> None:
        """Let a growing node hold `tokens` that are only proposed, in pages for `depth` tokens more; not counted.

        Whoever lends takes them back before anything else looks at the node.
        """
        assert node.growing
        if lacking := self.pages_lacking(node, depth):
            node.pages += self.pool.allocate(lacking)
        node.tokens += tokens
        node.num_cached += len(tokens)

    def sprout(self, node: Node, tokens: Sequence[int]) -> Node:
        """A node of proposed tokens below a growing one, with pages; not counted. `fell` takes it away."""
        sprout = Node(owner=node.owner, parent=node, start=node.end, tokens=list(tokens), num_cached=len(tokens))
        sprout.pages = self.pool.allocate(-(-len(tokens) // self.page_size))
        node.children.append(sprout)
        return sprout

    def fell(self, sprout: Node) -> None:
        """Take a sprout away, whose pages return at once."""
        assert sprout.parent is not None
        assert not sprout.children
        sprout.parent.children.remove(sprout)
        self.pool.release(sprout.pages)

    def trim(self, node: Node) -> None:
        """Take back the pages of tokens that did not come."""
        num_pages = -(-node.num_cached // self.page_size)
        self.pool.release(node.pages[num_pages:])
        del node.pages[num_pages:]

    def evict(self, node: Node) -> None:
        """Return the node's pages; its tokens stay and wait to be computed again. Other nodes' KV stays valid."""
        self.pool.release(node.pages)
        self._count(-node.num_cached)
        node.pages, node.num_cached = [], 0

    def nodes(self) -> Iterator[Node]:
        """Every node, depth-first."""
        stack = self.root.children[::-1]
        while stack:
            node = stack.pop()
            yield node
            stack.extend(reversed(node.children))

    def peak_of(self, owner: Owner) -> int:
        """Most tokens that the owner's nodes ever held at once, those that were evicted meanwhile included."""
        return self._owned_peak.get(owner, 0)

    def forget(self, owner: Owner) -> None:
        """Drop the owner's counters; its nodes must be gone. Called when a problem ends."""
        assert not self._owned.pop(owner, 0)
        self._owned_peak.pop(owner, None)

    def check(self) -> None:
        """Conservation: free and owned pages are the pool, no page twice, every node has just the pages it needs, or
        one more to grow into.
        """
        owned = [page for node in self.nodes() for page in node.pages]
        assert sorted([*owned, *self.pool.free]) == list(range(self.pool.num_pages)), "pages lost or owned twice"
        assert self.num_tokens == sum(node.num_cached for node in self.nodes())
        for node in self.nodes():
            assert node.parent is not None
            assert node.start == node.parent.end
            num_reserved = len(node.pages) - -(-node.num_cached // self.page_size)
            assert num_reserved == 0 or (num_reserved == 1 and node.growing)
            assert node.num_references or node.children, "a node without references and children"

    def _child(self, parent: Node, owner: Owner) -> Node:
        assert not parent.growing
        child = Node(owner=owner, parent=parent, start=parent.end, num_references=1)
        parent.children.append(child)
        return child

    def _best_child(self, node: Node, tokens: Sequence[int], owner: Owner) -> tuple[Node, int] | None:
        """The child that shares most of `tokens`, and how many: its whole length or whole pages of it."""
        best: tuple[Node, int] | None = None
        for child in node.children:
            if child.growing or not child.tokens or child.owner not in (owner, RUN):
                continue
            shared = _num_common(tokens, child.tokens)
            if shared < len(child.tokens):
                shared -= shared % self.page_size
            if shared and (best is None or shared > best[1]):
                best = child, shared
        return best

    def _split(self, node: Node, at: int) -> Node:
        """Cut `node` before token `at`; returns the new upper half.

        at: a multiple of the page size, so that no page has two owners; any number while nothing is stored.
        """
        assert node.parent is not None
        upper = Node(owner=node.owner, parent=node.parent, start=node.start, children=[node])
        upper.tokens, node.tokens = node.tokens[:at], node.tokens[at:]
        node.reading = None
        upper.num_cached, upper.num_computed = min(at, node.num_cached), min(at, node.num_computed)
        node.num_cached -= upper.num_cached
        node.num_computed -= upper.num_computed
        upper.last_used = node.last_used
        num_pages = -(-upper.num_cached // self.page_size)
        upper.pages, node.pages = node.pages[:num_pages], node.pages[num_pages:]
        node.parent.children[node.parent.children.index(node)] = upper
        node.parent, node.start = upper, node.start + at
        return upper

    def _attached(self, tokens: Sequence[int], parent: Node, owner: Owner) -> Node:
        new = self._child(parent, owner)
        new.tokens = list(tokens)
        if owner is not RUN:
            self.num_attached += len(new.tokens)
        return new

    def _count(self, tokens: int) -> None:
        self.num_tokens += tokens
        if self.num_tokens > self.num_tokens_peak:
            self.num_tokens_peak = self.num_tokens

    def _own(self, owner: Owner, tokens: int) -> None:
        owned = self._owned[owner] = self._owned.get(owner, 0) + tokens
        if owned > self._owned_peak.get(owner, 0):
            self._owned_peak[owner] = owned


def _num_common(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the longest common prefix."""
    for num, (mine, theirs) in enumerate(zip(a, b, strict=False)):
        if mine != theirs:
            return num
    return min(len(a), len(b))
