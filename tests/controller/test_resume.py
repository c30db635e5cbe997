"""Thoughts that a search continues chunk by chunk."""

from __future__ import annotations

import pytest

from tests.controller.driving import run
from tests.fakes import NumberTask, ScriptedEngine
from treereason import events
from treereason.core import (
    Cost,
    Decoded,
    Finish,
    Prompt,
    Resumption,
    Score,
    Thought,
    Tree,
)


@pytest.mark.parametrize(("text", "tokens", "finish"), [("12", 2, Finish.END), ("12", 1, Finish.LENGTH)])
def test_a_thought_says_why_it_ended(text: str, tokens: int, finish: Finish) -> None:
    async def search(tree: Tree) -> Thought | None:
        [thought] = await tree.expand([tree.root], tokens=tokens)
        assert thought.finish is finish
        [written] = await tree.write(tree.root, ["7"])
        assert written.finish is Finish.GIVEN
        return thought

    outcome = run(search, lambda _: text)
    assert [event.finish for event in outcome.of(events.ThoughtDecoded)] == [finish.value, "given"]


def test_chunks_by_resume_are_the_whole_text_and_an_ended_one_is_not_continued() -> None:
    async def search(tree: Tree) -> Thought | None:
        thoughts = await tree.expand([tree.root], 2, tokens=2)
        while any(thought.finish is Finish.LENGTH for thought in thoughts):
            await tree.score(thoughts)
            assert await tree.resume(thoughts, 2) == thoughts
        await tree.score(thoughts)
        return tree.best()

    outcome = run(search, lambda path: "12345" if path == (0,) else "77")
    assert (outcome.done.answer, outcome.done.tokens_decoded) == (12345, 7)
    resumed = [request for request in outcome.engine.requests if isinstance(request, Resumption)]
    assert [(request.path, request.prompt.max_tokens) for request in resumed] == [((0,), 2)] * 2
    assert outcome.of(events.ThoughtScored)[-1].score == 12345.0


def test_a_beginning_that_the_search_cut_is_neither_an_answer_nor_a_single_sample() -> None:
    async def search(tree: Tree) -> Thought | None:
        thoughts = await tree.expand([tree.root], 2, tokens=2)
        await tree.score(thoughts)
        assert [thought.answer for thought in thoughts] == [None, 77]
        assert not tree.unfinished(thoughts[0])
        assert tree.best() is thoughts[1]
        await tree.resume(tree.keep(thoughts, 1), 9)
        await tree.score(thoughts)
        return tree.best()

    texts = ["99123", "77"]
    outcome = run(search, lambda path: texts[path[0]])
    assert outcome.done.answer == 99123
    assert outcome.done.single_sample_scores == (77.0,), "the other one went on because of its score"


def test_resume_ends_where_the_task_does() -> None:
    class Short(NumberTask):
        def prompt(self, thought: Thought, style: str) -> Prompt | None:  # noqa: ARG002
            return None if thought.depth else Prompt("", max_tokens=5)

    async def search(tree: Tree) -> Thought | None:
        thoughts = await tree.expand([tree.root], 2, tokens=2)
        while any(thought.finish is Finish.LENGTH for thought in thoughts):
            await tree.resume(thoughts, 2)
            await tree.score(thoughts)
        return None

    outcome = run(search, lambda path: "1" * 9 if path == (0,) else "3", task=Short())
    assert (outcome.done.answer, outcome.done.tokens_decoded) == (11111, 6)
    assert outcome.done.single_sample_scores == (3.0,)


def test_a_thought_that_the_model_cannot_continue_keeps_its_score_and_ends_the_search() -> None:
    class Full(ScriptedEngine):
        def step(self) -> tuple[list[Decoded], None]:
            request, path = self._queue[-1]
            if isinstance(request, Resumption):
                self._queue.pop()
                return [Decoded("p", path, "12", -2.0, Cost(), None, Finish.LENGTH)], None
            return super().step()

    async def search(tree: Tree) -> Thought | None:
        thoughts = await tree.expand([tree.root], tokens=2)
        await tree.score(thoughts)
        while thoughts[0].finish is Finish.LENGTH:
            await tree.resume(thoughts, 2)
            assert thoughts[0].score == Score(12.0)
        return None

    outcome = run(search, lambda _: "1234", engine=Full)
    assert (outcome.done.status, outcome.done.answer) == ("done", 12)
