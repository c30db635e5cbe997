"""The handle of a search: each trap that users of earlier handles fell into, named after what is right."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.fakes import NumberTask, Outcome, ScriptedEngine, digits, run_search, value
from treereason import events
from treereason.controller.budget import Budget
from treereason.core import (
    Cost,
    Decoded,
    Expansion,
    Finish,
    Problem,
    Prompt,
    Resumption,
    Sampling,
    Score,
    Status,
    Thought,
    ThoughtPath,
    Tree,
    Writing,
    label_free,
)
from treereason.search.best_of_n import BestOfN
from treereason.search.self_consistency import SelfConsistency


class Search:
    """A search made of one coroutine function."""

    def __init__(self, run: Callable[[Tree], Awaitable[Thought | None]]) -> None:
        self._run = run

    async def run(self, tree: Tree) -> Thought | None:
        return await self._run(tree)


def run(coroutine: Callable[[Tree], Awaitable[Thought | None]], script: Any = digits, **options: Any) -> Outcome:
    return run_search(Search(coroutine), script, **options)


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


def test_a_search_that_asks_on_when_its_budget_is_spent_ends_with_the_best_so_far() -> None:
    async def search(tree: Tree) -> Thought | None:
        asked = 0
        while True:
            thoughts = await tree.expand([tree.root], 2, tokens=1)
            await tree.score(thoughts)
            asked += 1
            assert asked < 50, "the search spins"

    outcome = run(search, budget=lambda: Budget(7))
    assert (outcome.done.status, outcome.done.best) == ("done", (6,))
    assert outcome.done.tokens_decoded == 7


@pytest.mark.parametrize("tokens", [3, 50])
@pytest.mark.parametrize("by", [None, lambda thought: float(thought.text)])
def test_a_search_that_asks_for_nothing_new_ends_under_a_budget(tokens: int, by: Any) -> None:
    async def search(tree: Tree) -> Thought | None:
        thoughts = await tree.expand([tree.root], 2, tokens=1)
        await tree.score(thoughts)
        for _ in range(100_000):
            await tree.score(thoughts, by=by)
            await tree.expand([], 1)
        raise AssertionError("the search spins")

    outcome = run(search, budget=lambda: Budget(tokens))
    assert (outcome.done.status, outcome.done.best) == ("done", (1,))


def test_a_search_may_score_its_thoughts_one_by_one_when_its_budget_is_spent() -> None:
    async def search(tree: Tree) -> Thought | None:
        thoughts = await tree.expand([tree.root], 1_500, tokens=1)
        for thought in thoughts:
            await tree.score([thought], by=lambda thought: float(thought.path[-1]))
        return thoughts[-1]

    assert run(search, lambda _: "3", budget=lambda: Budget(1_500)).done.best == (1_499,)


def test_a_search_may_still_vote_when_its_budget_is_spent() -> None:
    async def search(tree: Tree) -> Thought | None:
        first = await tree.expand([tree.root], 2, tokens=1)
        assert await tree.expand([tree.root], 2, tokens=1) == []
        return first[0]

    assert run(search, budget=lambda: Budget(2)).done.best == (0,)


def test_a_search_that_never_asks_for_anything_lets_the_run_be_stopped() -> None:
    turns = iter(range(10_000))

    async def search(tree: Tree) -> Thought | None:
        while next(turns) < 5_000:
            await tree.score([])
        return None

    others = run(search)
    assert others.done.error == "no thought holds an answer"


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


def test_two_coroutines_that_get_nothing_in_one_round_are_told_once() -> None:
    async def search(tree: Tree) -> Thought | None:
        first = await tree.expand([tree.root], tokens=1)
        assert await tree.gather(tree.expand([tree.root]), tree.expand([tree.root])) == [[], []]
        return first[0]

    assert run(search, budget=lambda: Budget(1)).done.status == "done"


def test_resume_keeps_to_the_budget() -> None:
    async def search(tree: Tree) -> Thought | None:
        [thought] = await tree.expand([tree.root], tokens=2)
        assert tree.tokens_left == 1
        await tree.resume([thought], 5)
        assert (thought.text, tree.tokens_left) == ("123", 0)
        return thought

    assert run(search, lambda _: "12345", budget=lambda: Budget(3)).done.tokens_decoded == 3


def test_what_a_search_judged_by_itself_is_not_laid_to_the_oracle() -> None:
    def longest(thought: Thought) -> float:
        return -float(thought.text)

    async def search(tree: Tree) -> Thought | None:
        thoughts = await tree.expand([tree.root], 3)
        await tree.score(thoughts, by=longest)
        return tree.best()

    outcome = run(search)
    assert (outcome.done.guided_by, outcome.done.guided_by_basis) == (("longest",), ("unmarked",))
    assert (outcome.done.best, outcome.done.score) == ((0,), 0.0), "the score on record is the run's scorer's"
    assert {event.by for event in outcome.of(events.ThoughtScored)} == {"longest"}
    assert outcome.done.single_sample_scores == (0.0, 1.0, 2.0)


def test_a_vote_asks_no_scorer_and_is_scored_for_the_record() -> None:
    outcome = run_search(SelfConsistency(n=3), lambda path: "477"[path[0]])
    assert (outcome.done.guided_by, outcome.done.score) == ((), 7.0)
    assert outcome.done.single_sample_scores == (4.0, 7.0, 7.0)
    assert run_search(BestOfN(n=3), digits).done.guided_by == ("value",)


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


def test_chains_are_single_samples_too() -> None:
    outcome = run_search(SelfConsistency(n=2), digits, NumberTask(steps=3))
    assert outcome.done.single_sample_scores == (0.0, 0.0)


def test_samples_drawn_after_a_score_was_seen_are_no_single_samples() -> None:
    async def until_final(tree: Tree) -> Thought | None:
        for _ in range(9):
            [thought] = await tree.expand([tree.root])
            await tree.score([thought])
            if thought.score == Score(3.0):
                return thought
        return None

    outcome = run(until_final)
    assert outcome.done.best == (3,)
    assert outcome.done.single_sample_scores == (0.0,), "the last one was drawn because the others were not good"


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
    async def search(tree: Tree) -> Thought | None:
        await tree.expand([tree.root])
        return dict[str, Thought]()["best"]

    error = str(run(search).done.error)
    line = search.__code__.co_firstlineno + 2
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


def test_scores_set_by_hand_reach_the_record() -> None:
    async def search(tree: Tree) -> Thought | None:
        thoughts = await tree.expand([tree.root], 2)
        for thought in thoughts:
            thought.score = Score(10.0 - float(thought.text))
        return tree.keep(thoughts, 1)[0]

    outcome = run(search)
    assert [(e.thought, e.score, e.by) for e in outcome.of(events.ThoughtScored)] == [
        ((0,), 10.0, "search"),
        ((1,), 9.0, "search"),
    ]
    assert (outcome.done.guided_by, outcome.done.guided_by_basis) == (("search",), ("unmarked",))


def test_a_search_that_hands_on_a_score_by_hand_adds_no_basis_of_its_own() -> None:
    async def search(tree: Tree) -> Thought | None:
        first, second = await tree.expand([tree.root], 2)
        await tree.score([first], by=label_free(lambda _: 3.0))
        second.score = first.score
        return tree.best()

    done = run(search).done
    assert (done.guided_by, done.guided_by_basis) == (("<lambda>", "search"), ("label_free", "derived"))


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


def test_an_async_judge_asks_the_model_and_its_scores_count() -> None:
    async def judge(thought: Thought, tree: Tree) -> float:
        [yes, no] = await tree.write(thought, ["8", "1"], Prompt("right?", appended=True), part=True)
        assert yes.logprob is not None
        assert no.logprob is not None
        return yes.logprob - no.logprob + float(thought.text)

    async def search(tree: Tree) -> Thought | None:
        thoughts = await tree.expand([tree.root], 3)
        await tree.score(thoughts, by=judge)
        return tree.keep(thoughts, 1)[0]

    outcome = run(search, likely=float)
    assert (outcome.done.best, outcome.done.guided_by) == ((2,), ("judge",))
    assert outcome.of(events.ThoughtScored)[2].score == 9.0


def test_an_inline_scorer_of_the_run_needs_no_process() -> None:
    async def judge(thought: Thought, tree: Tree) -> float:
        return float(await tree.probe(thought, Prompt("how good?", appended=True)))

    def script(path: ThoughtPath) -> str:
        return str(path[-1]) if len(path) == 1 else str(5 - path[0])

    outcome = run_search(BestOfN(n=3), script, inline_scorer=judge)
    assert (outcome.done.best, outcome.done.score) == ((0,), 5.0)


def test_a_batch_scorer_of_a_search_sees_all_thoughts_at_once() -> None:
    seen: list[int] = []

    def best_is_last(thoughts: list[Thought]) -> list[float]:
        seen.append(len(thoughts))
        return [float(place) for place, _ in enumerate(thoughts)]

    async def search(tree: Tree) -> Thought | None:
        await tree.score(await tree.expand([tree.root], 4), by=best_is_last)
        return tree.best()

    assert run(search).done.best == (3,)
    assert seen == [4]


def test_a_scorer_of_a_search_that_breaks_fails_its_thought_alone() -> None:
    def picky(thought: Thought) -> float:
        return 1 / float(thought.text)

    async def search(tree: Tree) -> Thought | None:
        await tree.score(await tree.expand([tree.root], 2), by=picky)
        return tree.best()

    outcome = run(search)
    assert outcome.done.best == (1,)
    assert outcome.done.first_thought_error == "scorer: ZeroDivisionError: float division by zero"


def test_a_thought_shows_short_however_large_its_tree_is() -> None:
    thought = Thought(Problem("p", 9))
    for rank in range(200):
        thought = Thought(thought.problem, (*thought.path, rank), (thought,), "x" * 500)
    assert len(repr(thought)) < 1000


def test_the_scorer_of_the_run_is_asked_once_per_thought() -> None:
    asked: list[ThoughtPath] = []

    def counted(thought: Thought) -> Score | str:
        asked.append(thought.path)
        return value(thought)

    run_search(BestOfN(n=3), digits, scorer=counted)
    assert asked == [(0,), (1,), (2,)]
