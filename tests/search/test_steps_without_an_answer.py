"""Tasks that go step by step, on a model that writes one step after another and never an answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.fakes import ScriptedEngine, run_search
from treereason.core import Decoded, Finish, Problem, Score, Thought
from treereason.search import (
    MCTS,
    Beam,
    BestOfN,
    DepthFirst,
    ParticleFiltering,
    SelfConsistency,
    SingleSample,
    TreeOfThoughts,
)
from treereason.tasks import Arithmetic, Crosswords, DocumentMerging, FewShot, GameOf24
from treereason.tasks.steps import STEPS_TO_WHOLE


class Stops(ScriptedEngine):
    """A stop string ends each text that its limit does not."""

    def step(self) -> tuple[list[Decoded], None]:
        request, _ = self._queue[-1]
        [decoded], _ = super().step()
        if decoded.finish is Finish.END:
            decoded = replace(decoded, finish=Finish.STOP, stop=request.prompt.stop[-1])
        return [decoded], None


SEARCHES = (
    SingleSample(),
    SelfConsistency(n=2),
    BestOfN(n=2),
    TreeOfThoughts(k=1, b=1, steps=1000),
    Beam(n=2, beam_width=1, steps=1000),
    DepthFirst(),
    MCTS(),
    ParticleFiltering(n=2),
)


@pytest.mark.parametrize("search", SEARCHES, ids=lambda search: type(search).__name__)
@pytest.mark.parametrize(
    ("task", "whole"),
    [
        (Arithmetic(operations=1, limit=1), 64 * 3),
        (FewShot(operations=1, stepwise=True, limit=1), 64 * 3),
        (DocumentMerging(stepwise=True, documents=2, limit=1), 600),
    ],
    ids=["arithmetic", "few_shot", "document_merging"],
)
def test_a_path_of_steps_ends_at_what_its_task_can_need(search: Any, task: Any, whole: int) -> None:
    outcome = run_search(
        search,
        lambda _: "and so on, " * 3,
        task,
        lambda _: Score(0.5),
        problems=task.problems(0),
        engine=Stops,
        style="chat",
    )
    tokens: dict[tuple[int, ...], int] = {(): 0}
    for request in outcome.engine.expansions:
        assert request.prompt.max_tokens > 0
        for child in request.children:
            tokens[child] = tokens[request.parent] + min(33, request.prompt.max_tokens)
    assert 0 < max(tokens.values()) <= STEPS_TO_WHOLE * whole
    assert outcome.done.status == "failed", "no thought holds an answer"


@pytest.mark.parametrize(
    ("task", "problem"),
    [
        (GameOf24(), GameOf24(limit=1).problems(0)[0]),
        (Crosswords(), Problem("0", [f"clue {i}" for i in range(10)], "ABCDE" * 5)),
    ],
    ids=["game_of_24", "crosswords"],
)
def test_blank_lines_come_to_an_end(task: Any, problem: Any) -> None:
    thought = Thought(problem)
    for depth in range(1, 400):
        prompt = task.prompt(thought, "chat")
        if prompt is None:
            break
        below = Thought(problem, (0,) * depth, (thought,), text="  ", appended=depth > 1, finish=Finish.STOP, stop="\n")
        below.cost.tokens_decoded = prompt.max_tokens
        thought = below
    assert thought.depth < 20
