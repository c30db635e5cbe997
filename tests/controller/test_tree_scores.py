"""Scores of a search: who gave them, what the record says of them, and which samples were drawn without them."""

from __future__ import annotations

from tests.controller.driving import run
from tests.fakes import NumberTask, digits, run_search, value
from treereason import events
from treereason.core import (
    Prompt,
    Score,
    Thought,
    ThoughtPath,
    Tree,
    label_free,
)
from treereason.search.best_of_n import BestOfN
from treereason.search.self_consistency import SelfConsistency


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
    line = picky.__code__.co_firstlineno + 1
    why = f"scorer: ZeroDivisionError: float division by zero (test_tree_scores.py, line {line})"
    assert outcome.done.first_thought_error == why


def test_the_scorer_of_the_run_is_asked_once_per_thought() -> None:
    asked: list[ThoughtPath] = []

    def counted(thought: Thought) -> Score | str:
        asked.append(thought.path)
        return value(thought)

    run_search(BestOfN(n=3), digits, scorer=counted)
    assert asked == [(0,), (1,), (2,)]
