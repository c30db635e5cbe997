"""Tree of thoughts on a scripted engine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations
from math import exp
from random import Random

import pytest

from tests.fakes import NumberTask, digits
from tests.fakes import run_search as run
from tests.search import independent
from treereason import events
from treereason.core import Finish, Problem, Prompt, Score, Thought, ThoughtPath
from treereason.search.softmax import draw
from treereason.search.tree_of_thoughts import TreeOfThoughts


def test_tree_of_thoughts_keeps_the_b_best_and_returns_the_others_now() -> None:
    outcome = run(TreeOfThoughts(k=3, b=2, steps=2), digits, NumberTask(steps=2))
    assert [e.thought for e in outcome.of(events.ThoughtKept)] == [(2,), (1,), (1, 2), (2, 2)]
    assert {(0,), (1, 0), (1, 1), (2, 0), (2, 1)} <= set(outcome.engine.dropped)
    assert outcome.done.best == (1, 2)
    assert [e.children for e in outcome.engine.expansions] == [
        ((0,), (1,), (2,)),
        ((2, 0), (2, 1), (2, 2)),
        ((1, 0), (1, 1), (1, 2)),
    ]


def test_tree_of_thoughts_stops_at_a_final_score() -> None:
    outcome = run(TreeOfThoughts(k=2, b=1, steps=5), lambda path: "9" if path == (1,) else "3", NumberTask(steps=9))
    assert len(outcome.engine.expansions) == 1


def test_tree_of_thoughts_goes_on_with_what_is_left_of_failed_thoughts() -> None:
    def script(path: ThoughtPath) -> str | None:
        return None if path == (1,) else str(path[-1])

    outcome = run(TreeOfThoughts(k=2, b=1, steps=1), script)
    assert (outcome.done.best, outcome.done.status) == ((0,), "done")
    assert [e.error for e in outcome.of(events.ThoughtFailed)] == ["out of pages"]


def test_tokens_that_the_answer_does_not_stand_on_are_wasted() -> None:
    outcome = run(TreeOfThoughts(k=3, b=1, steps=2), digits, NumberTask(steps=2))
    assert outcome.done.tokens_decoded == 6
    assert outcome.done.tokens_wasted == 4


SEEDS = range(6)


def number(path: ThoughtPath, seed: int) -> str:
    return str(int(independent.values(seed)(path)))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("b", [1, 3])
def test_the_b_best_of_k_samples_go_on(seed: int, b: int) -> None:
    tree, best = independent.tree_of_thoughts(independent.values(seed), 3, 4, b)
    outcome = run(TreeOfThoughts(k=4, b=b), lambda path: number(path, seed), NumberTask(steps=3))
    assert [(each.parent, len(each.children)) for each in outcome.engine.expansions] == tree.expanded
    assert outcome.done.best == best


class Proposer(NumberTask):
    """Proposes numbers, some of them twice; a thought's text is its number."""

    def propose_prompt(self, thought: Thought, style: str) -> Prompt | None:
        return replace(asked, text="propose") if (asked := self.prompt(thought, style)) is not None else None

    def proposals(self, thought: Thought, text: str) -> list[str]:
        assert thought.finish is not Finish.LENGTH
        return text.split()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("k", "b"), [(9, 2), (2, 3)])
def test_each_proposal_of_one_text_becomes_a_child_once_and_at_most_k_do(seed: int, k: int, b: int) -> None:
    def proposals(path: ThoughtPath) -> list[str]:
        made = [number((*path, rank), seed) for rank in range(4)]
        return [made[0], made[1], made[0], made[2], made[3]]

    def value_at(path: ThoughtPath) -> float:
        return float(list(dict.fromkeys(proposals((*path[:-1], 0))))[path[-1] - 1])

    search = TreeOfThoughts(k=k, b=b, generate="propose")
    outcome = run(search, lambda path: " ".join(proposals(path)), Proposer(steps=3))
    kept = independent.tree_of_proposals(value_at, proposals, 3, k, b)
    assert [event.thought for event in outcome.of(events.ThoughtKept)] == kept
    assert all(each.prompt.text == "propose" for each in outcome.engine.expansions), "all that is decoded are proposals"
    assert outcome.done.answer == value_at(kept[-b])


def test_a_thought_that_needs_no_further_one_is_not_asked_for_proposals() -> None:
    outcome = run(TreeOfThoughts(generate="propose", steps=9), lambda _: "3 4", Proposer(steps=2))
    assert len(outcome.engine.expansions) == 2
    assert outcome.done.answer == 4


def test_a_text_without_proposals_ends_the_branch() -> None:
    outcome = run(TreeOfThoughts(generate="propose", b=2), lambda path: "3 4" if path == (0,) else " ", Proposer(2))
    assert [event.thought for event in outcome.of(events.ThoughtKept)] == [(2,), (1,)]
    assert outcome.done.error == "no thought holds an answer"


class Voter(NumberTask):
    """Asks for the best of its thoughts in words of its own."""

    def vote_prompt(self, thoughts: Sequence[Thought], style: str) -> Prompt:  # noqa: ARG002
        return Prompt(f"best of {len(thoughts)}?")

    def parse(self, thought: Thought) -> int | None:
        return int(thought.text.split()[0]) if thought.depth == self.steps else None


def never(thought: Thought) -> str:
    return f"{thought} is not for the scorer"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("b", [1, 2])
def test_the_thoughts_with_most_votes_go_on(seed: int, b: int) -> None:
    def digit(path: ThoughtPath) -> int:
        return int(number(path, seed)) % 10

    def ballot(path: ThoughtPath, num: int) -> int | None:
        return digit(path) - 1 if 1 <= digit(path) <= num else None

    search = TreeOfThoughts(k=3, b=b, evaluate="vote", n_vote=7)
    outcome = run(search, lambda path: f"{number(path, seed)} {digit(path)}", Voter(steps=3), scorer=never)
    tree, kept = independent.tree_by_votes(ballot, 3, 3, b, 7)
    assert [(each.parent, len(each.children)) for each in outcome.engine.expansions] == tree.expanded
    assert [event.thought for event in outcome.of(events.ThoughtKept)] == kept
    assert (outcome.done.guided_by, outcome.done.guided_by_basis) == (("Vote",), ("judge",))
    asked = {path for each in outcome.engine.expansions if "best of" in each.prompt.text for path in each.children}
    ballots = [each for each in outcome.of(events.ThoughtDecoded) if each.thought in asked]
    assert outcome.done.judge_tokens_decoded == sum(each.tokens_decoded for each in ballots) > 0
    assert outcome.done.best == kept[-b]
    assert "best of 3?" in {each.prompt.text for each in outcome.engine.expansions}


class EarlyOrLate(Voter):
    """An answer is a number above 4, at any depth up to the second."""

    def prompt(self, thought: Thought, style: str) -> Prompt | None:
        return super().prompt(thought, style) if thought.answer is None else None

    def parse(self, thought: Thought) -> int | None:
        return int(thought.text) if int(thought.text) > 4 else None


def test_votes_of_an_earlier_step_do_not_outweigh_those_of_the_last() -> None:
    texts: dict[ThoughtPath, str] = {(0,): "7", (1,): "2", (1, 0): "5", (1, 1): "6"}
    first = ("1", "1", "2", "2", "2")  # two of five votes for (0,), which is pruned
    texts |= {(0, rank): text for rank, text in enumerate(first)}
    texts |= {(1, 0, rank): text for rank, text in enumerate(("2", "1", "2", "?", "?"))}
    search = TreeOfThoughts(k=2, b=1, steps=2, evaluate="vote", n_vote=5)
    outcome = run(search, texts.__getitem__, EarlyOrLate(steps=2), scorer=never)
    assert (outcome.done.best, outcome.done.answer) == ((1, 1), 6)


def test_a_task_without_words_for_votes_is_asked_in_general_ones() -> None:
    script: dict[ThoughtPath, str] = {(0,): "3", (1,): "4", (0, 0): "It is 2."}
    outcome = run(TreeOfThoughts(k=2, steps=1, evaluate="vote", n_vote=1), script.__getitem__, scorer=never)
    assert "Which solution is the best?" in outcome.engine.expansions[1].prompt.text
    assert outcome.done.best == (1,)


@pytest.mark.parametrize(
    ("search", "style", "named"),
    [
        (TreeOfThoughts(generate="propose"), "plain", "search.generate=propose: task NumberTask has no propose_prompt"),
        (TreeOfThoughts(evaluate="vote"), "embedded", "NumberTask has no vote_prompt"),
    ],
)
def test_a_task_that_cannot_propose_or_vote_is_named_in_one_line(
    search: TreeOfThoughts, style: str, named: str
) -> None:
    error = run(search, digits, NumberTask(), style=style).done.error
    assert error is not None
    assert named in error
    assert "\n" not in error


def test_drawn_thoughts_are_different_ones_and_the_others_are_pruned() -> None:
    search = TreeOfThoughts(k=6, b=3, steps=2, select="sample", temperature=2.0)
    outcome = run(search, digits, NumberTask(steps=2))
    kept = [event.thought for event in outcome.of(events.ThoughtKept) if len(event.thought) == 1]
    pruned = [event.thought for event in outcome.of(events.ThoughtPruned) if len(event.thought) == 1]
    assert sorted(kept + pruned) == [(rank,) for rank in range(6)]
    assert len(kept) == 3
    greedy = run(TreeOfThoughts(k=6, b=3, steps=2), digits, NumberTask(steps=2))
    problems = [Problem(str(i), 9) for i in range(20)]
    many = run(search, digits, NumberTask(steps=2), problems=problems)
    best = [event.thought for event in greedy.of(events.ThoughtKept)][:3]
    by_problem = [
        [e.thought for e in many.of(events.ThoughtKept) if e.problem == problem.id][:3] for problem in problems
    ]
    assert any(drawn != best for drawn in by_problem)


def test_draws_follow_the_softmax_of_the_scores_that_are_left() -> None:
    """P(first = i) = w_i, and P(then j) = w_j / (1 - w_i)."""
    thoughts = [Thought(Problem("p", 9), (i,), score=Score(float(i))) for i in range(3)]
    weights = [exp(i / 1.5) / sum(exp(j / 1.5) for j in range(3)) for i in range(3)]
    rng, num = Random(0), 20_000
    seen = Counter(tuple(t.path[0] for t in draw(rng, thoughts, 2, 1.5)) for _ in range(num))
    for first, then in permutations(range(3), 2):
        expected = weights[first] * weights[then] / (1 - weights[first])
        assert seen[first, then] / num == pytest.approx(expected, abs=0.015)
    assert sorted(draw(rng, thoughts, 9, 1.5), key=lambda t: t.path) == thoughts
