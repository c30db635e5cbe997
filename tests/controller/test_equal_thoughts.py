"""Equal thoughts are one thought with its multiplicity; sampling that cannot differ decodes once."""

from __future__ import annotations

import pytest

from tests.controller.driving import run
from tests.fakes import NumberTask, run_search
from treereason import events
from treereason.controller.budget import Budget
from treereason.controller.growth import ALL_ALIKE
from treereason.core import Problem, Prompt, Sampling, Status, Thought, Tree
from treereason.search.tree_of_thoughts import TreeOfThoughts

GREEDY = Sampling(0.0)


def test_keep_gives_different_thoughts_and_the_earliest_stands_for_its_equals() -> None:
    texts = ["3", "5", "5", "3", "5", "1"]

    async def search(tree: Tree) -> Thought | None:
        thoughts = await tree.expand([tree.root], 6)
        await tree.score(thoughts)
        kept = tree.keep(thoughts, 2)
        assert [(thought.path, thought.multiplicity) for thought in kept] == [((1,), 3), ((0,), 2)]
        assert [thought.status for thought in thoughts[2:]] == [Status.PRUNED] * 4
        assert tree.keep(thoughts, 2) == kept
        assert [thought.multiplicity for thought in kept] == [3, 2], "nobody is counted twice"
        children = await tree.expand(kept[:1], 2, prompt=Prompt("more"))
        assert [child.multiplicity for child in children] == [3, 3]
        return kept[0]

    outcome = run(search, lambda path: texts[path[0]])
    assert (outcome.done.status, outcome.done.best) == ("done", (1,))
    assert len(outcome.done.single_sample_scores) == 6, "what was drawn is what counts there"


def test_equal_texts_below_different_texts_are_different_thoughts() -> None:
    async def search(tree: Tree) -> Thought | None:
        tops = await tree.expand([tree.root], 2)
        children = await tree.expand(tops, 2)
        await tree.score(children)
        assert [child.path for child in tree.keep(children, 4)] == [(0, 0), (1, 0)]
        return tree.best()

    assert (
        run(search, lambda path: str(path[0]) if len(path) == 1 else "4", task=NumberTask(steps=2)).done.error is None
    )


def test_equal_texts_from_prompts_of_their_own_are_one_thought() -> None:
    async def search(tree: Tree) -> Thought | None:
        tops = await tree.expand([tree.root], 2)
        children = [(await tree.expand([top], 1, prompt=Prompt("again")))[0] for top in tops]
        other = await tree.expand(tops[:1], 1, prompt=Prompt("another"))
        ids = await tree.expand(tops[:1], 1, prompt=Prompt("again", token_ids=(1, 2)))
        await tree.score([*children, *other, *ids])
        kept = tree.keep([*children, *other, *ids], 9)
        assert [thought.multiplicity for thought in kept] == [2, 1, 1]
        return kept[0]

    assert (
        run(search, lambda path: str(path[0]) if len(path) == 1 else "4", task=NumberTask(steps=2)).done.error is None
    )


def test_a_frontier_of_tree_of_thoughts_holds_no_thought_twice() -> None:
    outcome = run_search(TreeOfThoughts(k=4, b=3, steps=1), lambda path: "8" if path[0] < 3 else "7")
    assert [event.thought for event in outcome.of(events.ThoughtKept)] == [(0,), (3,)]


def test_sampling_that_cannot_differ_decodes_once_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    async def search(tree: Tree) -> Thought | None:
        children = await tree.expand([tree.root], 5, sampling=GREEDY)
        below = await tree.expand(children, [2], sampling=GREEDY)
        assert [thought.multiplicity for thought in (*children, *below)] == [5, 10]
        return below[0]

    problems = [Problem("p", 9), Problem("q", 9)]
    outcome = run(search, task=NumberTask(steps=2), problems=problems)
    assert len(outcome.of(events.ThoughtCreated)) == 4
    assert [done.tokens_decoded for done in outcome.of(events.ProblemDone)] == [2, 2]
    assert [record.message for record in caplog.records].count(ALL_ALIKE) == 1


@pytest.mark.parametrize(
    "sampling",
    [Sampling(0.0), Sampling(1e-7), Sampling(1.0, top_k=1), Sampling(1.0, top_p=1e-9)],
    ids=["temperature 0", "next to 0", "top_k 1", "next to no top_p"],
)
def test_all_sampling_that_cannot_differ_decodes_once(sampling: Sampling) -> None:
    async def search(tree: Tree) -> Thought | None:
        [child] = await tree.expand([tree.root], 5, sampling=sampling)
        assert child.multiplicity == 5
        return child

    assert run(search).done.error is None


def test_what_sampling_repeats_is_paid_once() -> None:
    async def search(tree: Tree) -> Thought | None:
        [child] = await tree.expand([tree.root], 5, tokens=4, sampling=GREEDY)
        assert child.multiplicity == 5
        return child

    assert run(search, budget=lambda: Budget(4)).done.error is None


def test_one_child_at_temperature_0_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def search(tree: Tree) -> Thought | None:
        [child] = await tree.expand([tree.root], 1, sampling=GREEDY)
        return child

    assert run(search).done.error is None
    assert caplog.records == []
