"""The token forest against a naive dictionary: which node is where, which tokens, how many pages."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from treereason.engine.kv.forest import RUN, Forest, Node, Owner
from treereason.engine.kv.pages import PagePool, PoolFull

PAGE = 4


def tokens_of(node: Node) -> list[int]:
    return [token for part in node.path() for token in part.tokens]


def compute_path(forest: Forest, node: Node) -> None:
    for part in node.path():
        forest.compute(part, part.num_pending)


class ForestMachine(RuleBasedStateMachine):
    """Model: the token sequence of every node that is referred to, and which branches still grow."""

    @initialize(num_pages=st.integers(1, 40))
    def start(self, num_pages: int) -> None:
        self.forest = Forest(PagePool(num_pages), PAGE)
        self.sequences: dict[Node, list[int]] = {}

    def _compute(self, node: Node) -> None:
        for part in node.path():
            stored, free = part.num_cached, self.forest.pool.num_free
            needed = -(-len(part.tokens) // PAGE) - len(part.pages)
            try:
                self.forest.compute(part, part.num_pending)
            except PoolFull:
                assert needed > free
                assert (part.num_cached, self.forest.pool.num_free) == (stored, free)

    @rule(tokens=st.lists(st.integers(0, 1), min_size=1, max_size=14), owner=st.sampled_from([RUN, "a", "b"]))
    def prompt(self, tokens: list[int], owner: Owner) -> None:
        node = self.forest.attach(tokens, owner)
        self.sequences[node] = tokens
        self._compute(node)

    @precondition(lambda self: any(not node.growing for node in self.sequences))
    @rule(data=st.data(), tokens=st.lists(st.integers(0, 1), min_size=1, max_size=9))
    def appended(self, data: st.DataObject, tokens: list[int]) -> None:
        below = data.draw(st.sampled_from([node for node in self.sequences if not node.growing]))
        node = self.forest.attach(tokens, below.owner, below)
        self.sequences[node] = self.sequences[below] + tokens
        self._compute(node)

    @precondition(lambda self: any(not node.growing for node in self.sequences))
    @rule(data=st.data())
    def fork(self, data: st.DataObject) -> None:
        below = data.draw(st.sampled_from([node for node in self.sequences if not node.growing]))
        free = self.forest.pool.num_free
        self.sequences[self.forest.fork(below, below.owner)] = list(self.sequences[below])
        assert self.forest.pool.num_free == free, "a fork took pages"

    @precondition(lambda self: any(node.growing for node in self.sequences))
    @rule(data=st.data(), token=st.integers(0, 1))
    def grow(self, data: st.DataObject, token: int) -> None:
        node = data.draw(st.sampled_from([node for node in self.sequences if node.growing]))
        node.tokens.append(token)
        self.sequences[node].append(token)
        self._compute(node)

    @precondition(lambda self: any(node.growing for node in self.sequences))
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from([node for node in self.sequences if node.growing])).growing = False

    @precondition(lambda self: self.sequences)
    @rule(data=st.data())
    def prune(self, data: st.DataObject) -> None:
        node = data.draw(st.sampled_from(list(self.sequences)))
        del self.sequences[node]
        self.forest.release(node)

    @invariant()
    def agrees_with_the_dictionary(self) -> None:
        self.forest.check()
        for node, tokens in self.sequences.items():
            assert tokens_of(node) == tokens
        on_a_path = {part for node in self.sequences for part in node.path()}
        assert on_a_path == set(self.forest.nodes())
        if not self.sequences:
            assert self.forest.pool.num_free == self.forest.pool.num_pages

    @invariant()
    def owners_never_mix(self) -> None:
        for node in self.sequences:
            assert {part.owner for part in node.path()} <= {node.owner, RUN}


TestForestMachine = ForestMachine.TestCase
TestForestMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_a_fresh_prompt_shares_whole_pages_of_the_longest_prefix() -> None:
    forest = Forest(PagePool(20), PAGE)
    first = forest.attach([1, 2, 3, 4, 5, 6, 7, 8, 9], "a")
    compute_path(forest, first)
    second = forest.attach([1, 2, 3, 4, 5, 6, 0], "a")
    compute_path(forest, second)
    assert second.tokens == [5, 6, 0]
    assert second.parent is first.parent
    assert forest.num_tokens == 9 + 3
    forest.check()


def test_another_problem_shares_only_what_belongs_to_the_run() -> None:
    forest = Forest(PagePool(20), PAGE)
    head = forest.attach([1, 2, 3, 4], RUN)
    compute_path(forest, head)
    one, two = (forest.attach([1, 2, 3, 4, 5, 6, 7, 8, 9], owner) for owner in "ab")
    assert one.parent is two.parent is head
    assert one.tokens == two.tokens == [5, 6, 7, 8, 9]


def test_the_last_release_returns_every_page_at_once() -> None:
    forest = Forest(PagePool(8), PAGE)
    prompt = forest.attach(list(range(10)), "a")
    compute_path(forest, prompt)
    branches = [forest.fork(prompt, "a") for _ in range(3)]
    for branch in branches:
        branch.tokens.append(7)
        forest.compute(branch, 1)
    forest.release(prompt)
    assert forest.pool.num_free == 8 - 3 - 3
    for branch in branches:
        forest.release(branch)
    assert forest.pool.num_free == 8
    assert forest.peak_of("a") == 13
    forest.forget("a")


def test_a_leak_is_found() -> None:
    forest = Forest(PagePool(8), PAGE)
    node = forest.attach([1, 2, 3, 4, 5], "a")
    compute_path(forest, node)
    node.pages.pop()
    with pytest.raises(AssertionError, match="pages lost"):
        forest.check()


def test_long_runs_are_contiguous_and_single_pages_come_from_the_other_end() -> None:
    pool = PagePool(10)
    assert pool.allocate(1) == [9]
    assert pool.allocate(3) == [0, 1, 2]
    pool.release([1])
    assert pool.allocate(2) == [3, 4]
    with pytest.raises(PoolFull, match="6 KV pages needed, 5 of 10 free"):
        pool.allocate(6)


def test_a_page_may_be_taken_before_its_token_and_given_back() -> None:
    forest = Forest(PagePool(2), PAGE)
    prompt = forest.attach([1, 2], "a")
    compute_path(forest, prompt)
    branch = forest.fork(prompt, "a")
    assert forest.reserve_page(branch)
    assert forest.reserve_page(branch), "it has it already"
    assert (len(branch.pages), forest.pool.num_free) == (1, 0)
    forest.check()
    other = forest.fork(prompt, "a")
    assert not forest.reserve_page(other)
    page = branch.pages[0]
    branch.tokens.append(7)
    forest.compute(branch, 1)
    forest.trim(branch)
    assert branch.pages == [page]
    forest.trim(other)
    branch.tokens += [7] * 3
    forest.compute(branch, 3)
    assert not forest.reserve_page(branch)
    for node in (prompt, branch, other):
        forest.release(node)
    assert forest.pool.num_free == 2
