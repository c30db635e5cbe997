"""The handle of a search: each trap that users of earlier handles fell into, named after what is right."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.controller.driving import run
from tests.fakes import NumberTask, ScriptedEngine, digits, run_search
from treereason.core import (
    Decoded,
    Expansion,
    Finish,
    Problem,
    Prompt,
    Sampling,
    Status,
    Thought,
    Tree,
    Writing,
)


def test_a_keep_of_one_subtree_leaves_the_others_alone() -> None:
    async def search(tree: Tree) -> Thought | None:
        tops = await tree.expand([tree.root], 3)
        await tree.score(tops)
        tree.keep(tops, 3)
        for top in tops:  # as DVTS does: every subtree keeps its own best
            children = await tree.expand([top], 2)
            await tree.score(children)
            assert len(tree.keep(children, 1)) == 1
        again = await tree.expand(tops)
        assert [thought.status for thought in again] == [Status.DECODED] * 3
        return tree.best()

    outcome = run(search, task=NumberTask(steps=2))
    assert (outcome.done.thoughts_failed, outcome.done.error) == (0, None)
    assert {(0,), (1,), (2,)}.isdisjoint(outcome.engine.dropped)


def test_a_dropped_thought_can_be_expanded_again() -> None:
    async def search(tree: Tree) -> Thought | None:
        [thought] = await tree.expand([tree.root])
        tree.drop([thought, tree.root])
        tree.drop([thought])
        assert thought.status is Status.PRUNED
        [child] = await tree.expand([thought])
        await tree.score([child])
        return child

    outcome = run(search, task=NumberTask(steps=2))
    assert (outcome.done.status, outcome.done.best) == ("done", (0, 0))
    assert outcome.engine.dropped == [(0,), (0,)]


def test_keep_refuses_a_thought_without_a_score_by_name() -> None:
    async def search(tree: Tree) -> Thought | None:
        thoughts = await tree.expand([tree.root], 2)
        await tree.score(thoughts[:1])
        return tree.keep(thoughts, 1)[0]

    error = str(run(search).done.error)
    assert "keep ranks by score, and <Thought p:1 '1'> has none: await tree.score(thoughts) before" in error


def test_keep_refuses_a_number_that_none_can_be_kept_by() -> None:
    async def search(tree: Tree) -> Thought | None:
        return tree.keep(await tree.expand([tree.root], 2), -1)[0]

    assert "keep: b=-1: give a whole number of 0 or more" in str(run(search).done.error)


def test_keep_leaves_failed_thoughts_out_and_counts_a_thought_once() -> None:
    async def search(tree: Tree) -> Thought | None:
        thoughts = await tree.expand([tree.root], 3)
        await tree.score(thoughts)
        assert tree.keep([*thoughts, *thoughts], 5) == [thoughts[2], thoughts[0]]
        return tree.best()

    outcome = run(search, lambda path: None if path == (1,) else str(path[-1]))
    assert (outcome.done.thoughts_failed, outcome.done.first_thought_error) == (1, "out of pages")


def test_a_transcript_holds_prompts_and_stop_strings() -> None:
    root = Thought(Problem("p", 9))
    first = Thought(root.problem, (0,), (root,), "2+3", prompt="Q1+1+3\n=", stop="\n")
    second = Thought(root.problem, (0, 0), (first,), "5", prompt="=", appended=True, finish=Finish.END)
    fresh = Thought(root.problem, (0, 0, 0), (second,), "right", prompt="Is 5 right? ")
    assert (root.transcript(), first.transcript()) == ("", "Q1+1+3\n=2+3\n")
    assert second.transcript() == "Q1+1+3\n=2+3\n=5"
    assert fresh.transcript() == "Is 5 right? right"


class SeeingEngine(ScriptedEngine):
    """Tells how the model saw the prompt."""

    def step(self) -> tuple[list[Decoded], None]:
        done, _ = super().step()
        return [replace(child, prompt="<user>three</user>") for child in done], None


def test_a_transcript_holds_the_prompt_as_the_model_saw_it() -> None:
    async def once(tree: Tree) -> Thought | None:
        [child] = await tree.expand([tree.root], prompt=Prompt("three"))
        seen.append(child.transcript())
        return None

    seen: list[str] = []
    run(once, engine=SeeingEngine)
    assert seen == ["<user>three</user>0"]


def test_parts_of_an_answer_are_neither_parsed_nor_the_best() -> None:
    async def search(tree: Tree) -> Thought | None:
        parts = await tree.expand([tree.root], 2, prompt=Prompt("half"), part=True)
        await tree.score(parts, by=lambda _: 100.0)
        [whole] = await tree.join(parts, Prompt("merge"), half=7)
        assert whole.data == {"half": 7}
        await tree.score([whole], by=lambda _: 1.0)
        return tree.best()

    outcome = run(search, lambda path: "no number" if len(path) == 1 else "9", task=NumberTask(steps=2))
    assert (outcome.done.best, outcome.done.answer, outcome.done.thoughts_failed) == ((0, 0), 9, 0)


def test_probes_are_not_parsed() -> None:
    async def search(tree: Tree) -> Thought | None:
        [thought] = await tree.expand([tree.root])
        assert await tree.probe(thought, Prompt("right?", appended=True)) == "no number"
        return thought

    assert run(search, lambda path: "4" if len(path) == 1 else "no number").done.thoughts_failed == 0


def test_an_error_of_a_search_names_its_file_and_line() -> None:
    class Broken:
        async def run(self, tree: Tree) -> Thought | None:
            await tree.expand([tree.root])
            return dict[str, Thought]()["best"]

    error = str(run_search(Broken(), digits).done.error)
    line = Broken.run.__code__.co_firstlineno + 2
    assert error == f"search: KeyError: 'best' (test_tree.py, line {line})"


def test_a_forgotten_await_is_named_with_its_line(recwarn: pytest.WarningsRecorder) -> None:
    async def ends(tree: Tree) -> Thought | None:
        tree.score([tree.root])  # type: ignore[unused-coroutine]
        return None

    async def uses_it(tree: Tree) -> Thought | None:
        return tree.expand([tree.root])[0]  # type: ignore[index, no-any-return]

    for search, name in ((ends, "score"), (uses_it, "expand")):
        line = search.__code__.co_firstlineno + 1
        error = str(run(search).done.error)
        assert error == (
            f"search: tree.{name} was never awaited (test_tree.py, line {line}): write `await tree.{name}(...)`"
        )
    assert not [warning for warning in recwarn if "never awaited" in str(warning.message)]


def test_what_is_awaited_beside_the_tree_is_told_with_what_to_do() -> None:
    async def search(tree: Tree) -> Thought | None:
        await tree.gather(tree.expand([tree.root]), asyncio.sleep(0))
        return None

    assert "asyncio.sleep or a task: await tree.expand and the like" in str(run(search).done.error)


def test_the_handle_knows_task_style_cost_and_a_generator_of_the_problem() -> None:
    drawn: list[float] = []

    async def search(tree: Tree) -> Thought | None:
        assert (tree.style, tree.cost.tokens_decoded, tree.tokens_left) == ("plain", 0, None)
        assert tree.task.prompt(tree.root, tree.style) is not None
        await tree.expand([tree.root], 3)
        assert tree.cost.tokens_decoded == 3
        drawn.append(tree.rng.random())
        return None

    run(search)
    run(search)
    assert drawn[0] == drawn[1]


def test_k_may_differ_per_thought() -> None:
    async def search(tree: Tree) -> Thought | None:
        tops = await tree.expand([tree.root], 3)
        children = await tree.expand(tops, [2, 0, 1])
        assert [child.path for child in children] == [(0, 0), (0, 1), (2, 0)]
        await tree.expand(tops, [1])
        return None

    outcome = run(search, task=NumberTask(steps=2))
    assert "expand: 1 numbers in k for 3 thoughts: give one per thought" in str(outcome.done.error)


def test_sampling_prompt_and_tokens_may_be_given_per_call() -> None:
    async def search(tree: Tree) -> Thought | None:
        put = Prompt("own", max_tokens=9)
        return (await tree.expand([tree.root], prompt=put, sampling=Sampling(0.0), tokens=4))[0]

    [expansion] = run(search).engine.expansions
    assert (expansion.prompt, expansion.sampling) == (Prompt("own", max_tokens=4), Sampling(0.0))


def test_written_texts_are_measured_and_decode_nothing() -> None:
    options = ["3", "9", "5"]

    async def search(tree: Tree) -> Thought | None:
        written = await tree.write(tree.root, options)
        assert [thought.text for thought in written] == options
        await tree.score(written, by=lambda thought: thought.logprob)
        return tree.best()

    outcome = run(search, likely=lambda text: -abs(float(text) - 8))
    assert (outcome.done.answer, outcome.done.tokens_decoded) == (9, 0)
    assert outcome.done.single_sample_scores == (), "what was given was not sampled"
    [request] = outcome.engine.requests
    assert isinstance(request, Writing)
    assert request.texts == tuple(options)


def test_several_joins_under_gather_are_asked_for_together_and_named_in_order() -> None:
    async def pair(tree: Tree, left: Thought, right: Thought) -> Thought:
        [joined] = await tree.join([left, right], Prompt("merge"))
        await tree.score([joined])
        return joined

    async def search(tree: Tree) -> Thought | None:
        a, b, c, d = await tree.expand([tree.root], 4)
        joined = await tree.gather(pair(tree, c, d), pair(tree, a, b), tree.probe(a, Prompt("ok?", appended=True)))
        assert [thought.path for thought in joined[:2]] == [(2, 0), (0, 0)]
        assert joined[2] == "1"
        return tree.best()

    requests = run(search).engine.requests
    assert [r.children for r in requests if isinstance(r, Expansion)][1:] == [((2, 0),), ((0, 0),), ((0, 1),)]


def test_a_thought_shows_short_however_large_its_tree_is() -> None:
    thought = Thought(Problem("p", 9))
    for rank in range(200):
        thought = Thought(thought.problem, (*thought.path, rank), (thought,), "x" * 500)
    assert len(repr(thought)) < 1000
