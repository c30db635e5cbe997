"""The searches and the judge in examples/, each beside the same thing computed in another way."""

from __future__ import annotations

import inspect
from collections import Counter, defaultdict
from itertools import pairwise
from math import inf, log, sqrt
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import treereason as tr
from tests.fakes import ROOT, NumberTask, Outcome, run_search
from treereason import events
from treereason.config.user_files import load
from treereason.core import Expansion, Resumption, Thought, ThoughtPath
from treereason.engine.model.load import EMBEDDED
from treereason.tasks.sorting import Sorting, sorting_errors

EXAMPLES = ROOT / "examples"
STEPS = 3


def example(name: str) -> Any:
    return load(f"{EXAMPLES / name}")


def script(seed: int) -> Any:
    """Numbers that depend on seed and path alone."""
    return lambda path: str(Random(f"{seed}/{path}").randrange(1, 90))


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_is_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 46


@pytest.mark.parametrize("name", ["mcts", "dvts", "graph_of_thoughts", "successive_halving", "judge", "choice"])
def test_a_search_or_judge_takes_at_most_40_lines(name: str) -> None:
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) <= 40


def expanded(outcome: Outcome) -> list[ThoughtPath]:
    return [request.parent for request in outcome.engine.requests if isinstance(request, Expansion)]


def mcts_by_recursion(seed: int, n_iters: int, k: int, c: float) -> tuple[list[ThoughtPath], ThoughtPath]:
    """The order of expansions and the best leaf, by recursion over paths, sums and counts."""
    value: dict[ThoughtPath, float] = {(): 0.0}
    visits, sums = Counter[ThoughtPath](), defaultdict[ThoughtPath, float](float)
    known: set[ThoughtPath] = set()
    order: list[ThoughtPath] = []

    def grow(path: ThoughtPath) -> list[ThoughtPath]:
        known.add(path)
        if len(path) == STEPS:
            return []
        order.append(path)
        below = [(*path, rank) for rank in range(k)]
        value.update({child: float(script(seed)(child)) for child in below})
        return below

    def descend(path: ThoughtPath) -> float:
        if path not in known:
            below = grow(path)
            reward = descend(max(below, key=lambda child: value[child])) if below else value[path]
        elif len(path) == STEPS:
            reward = value[path]
        else:
            reward = descend(
                max(
                    ((*path, rank) for rank in range(k)),
                    key=lambda child: (
                        inf
                        if not visits[child]
                        else sums[child] / visits[child] + c * sqrt(log(visits[path]) / visits[child]),
                        value[child],
                    ),
                )
            )
        visits[path] += 1
        sums[path] += reward
        return reward

    for _ in range(n_iters):
        descend(())
    leaves = [path for path in value if len(path) == STEPS]
    return order, min(leaves, key=lambda path: (-value[path], path))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("c", [0.0, 30.0])
def test_mcts_expands_in_the_order_of_the_textbook(seed: int, c: float) -> None:
    search = example("mcts.py:MCTS")(n_iters=12, k=2, c=c)
    outcome = run_search(search, script(seed), NumberTask(steps=STEPS))
    order, best = mcts_by_recursion(seed, 12, 2, c)
    assert expanded(outcome) == order
    assert outcome.done.best == best


def test_mcts_explores_more_where_exploration_weighs_more() -> None:
    orders = [[mcts_by_recursion(seed, 6, 3, c)[0] for seed in range(8)] for c in (0.0, 1e6)]
    assert orders[0] != orders[1]


@pytest.mark.parametrize("seed", range(4))
def test_dvts_keeps_the_best_step_of_each_subtree(seed: int) -> None:
    search = example("dvts.py:DVTS")(n=12, beam_width=4)
    outcome = run_search(search, script(seed), NumberTask(steps=STEPS))
    value = script(seed)
    kept: set[ThoughtPath] = set()
    for subtree in range(3):
        path: ThoughtPath = max(((4 * subtree + rank,) for rank in range(4)), key=lambda path: int(value(path)))
        kept.add(path)
        for _ in range(STEPS - 1):
            path = max(((*path, rank) for rank in range(4)), key=lambda path: int(value(path)))
            kept.add(path)
    assert {event.thought for event in outcome.of(events.ThoughtKept)} == kept
    assert len(outcome.of(events.ThoughtPruned)) == 3 * STEPS * 3
    best = max((path for path in kept if len(path) == STEPS), key=lambda path: (int(value(path)), [-r for r in path]))
    assert outcome.done.best == best


TEXTS = {
    (0,): "31", (1,): "13", (2,): "1",
    (3,): "42", (4,): "22", (5,): "24",
    (1, 0): "1243", (1, 1): "134", (1, 2): "4321",
    (1, 0, 0): "1243", (1, 0, 1): "1234", (1, 0, 2): "12344",
}  # fmt: skip


def mistakes(given: str, found: str) -> int:
    """Graph-of-thoughts' score of sorting, stated anew: counts that are off, plus neighbours out of order."""
    wrong = sum(abs(given.count(digit) - found.count(digit)) for digit in set(given + found))
    return wrong + len([1 for left, right in pairwise(found) if left > right])


def test_graph_of_thoughts_merges_the_best_halves_and_improves_the_best_merge() -> None:
    problem = tr.Problem("p", [3, 1, 4, 2], [1, 2, 3, 4])
    outcome = run_search(
        example("graph_of_thoughts.py:GraphOfThoughts")(k=3), TEXTS.__getitem__, Sorting(), sorting_errors,
        problems=[problem], style="embedded",
    )  # fmt: skip
    halves = [min(((i,) for i in ranks), key=lambda path: mistakes(half, TEXTS[path]))
              for ranks, half in ((range(3), "31"), (range(3, 6), "42"))]  # fmt: skip
    prompts = [request.prompt.text for request in outcome.engine.expansions]
    assert prompts[:3] == ["sort 31=", "sort 42=", f"merge {TEXTS[halves[0]]}+{TEXTS[halves[1]]}="]
    merged = min(((1, rank) for rank in range(3)), key=lambda path: mistakes("3142", TEXTS[path]))
    assert prompts[3] == f"fix 3142:{TEXTS[merged]}="
    final = min((path for path in TEXTS if len(path) > 1), key=lambda path: (mistakes("3142", TEXTS[path]), path))
    assert (outcome.done.best, outcome.done.solved, outcome.done.score) == (final, True, 0.0)


def test_successive_halving_goes_on_with_the_likelier_half_only() -> None:
    texts = ["118888", "331111", "221111", "44"]

    def likely(text: str) -> float:
        return -float(sum(map(int, text)))

    search = example("successive_halving.py:SuccessiveHalving")(n=4, chunk=2)
    outcome = run_search(search, lambda path: texts[path[0]], likely=likely)
    alive, cut, expected = list(range(4)), 2, []
    while any(len(texts[i]) > cut for i in alive):
        means = {i: likely(texts[i][:cut]) / len(texts[i][:cut]) for i in alive}
        alive = sorted(alive, key=lambda i: (-means[i], i))[: (len(alive) + 1) // 2]
        expected += [(i,) for i in alive if len(texts[i]) > cut]
        cut += 2
    resumed = [request.path for request in outcome.engine.requests if isinstance(request, Resumption)]
    assert resumed == expected == [(0,), (2,), (2,)]
    assert (outcome.done.best, outcome.done.answer) == ((2,), 221111)


@pytest.fixture(scope="module")
def by_transformers() -> Any:
    """Log-probability of a text behind a prompt on the shipped model, by transformers alone."""
    network: Any = AutoModelForCausalLM.from_pretrained(EMBEDDED, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED)

    def logprob(prompt: str, text: str) -> float:
        before = tokenizer(prompt)["input_ids"]
        own = tokenizer(text, add_special_tokens=False)["input_ids"]
        with torch.inference_mode():
            logits = network(torch.tensor([before + own])).logits[0, len(before) - 1 : -1]
        return float(logits.log_softmax(-1).gather(1, torch.tensor(own)[:, None]).sum())

    return logprob


def test_the_judge_is_the_models_own_log_probability(by_transformers: Any) -> None:
    judge = example("judge.py:judge")
    assert inspect.iscoroutinefunction(judge)
    run = tr.run(
        tr.tasks.Sorting(length=12, limit=3), tr.search.BestOfN(n=3), tr.load("embedded"), scorer=judge, baseline="none"
    )
    scored = [thought for problem in run.problems for thought in problem.thoughts if thought.depth == 1]
    assert len(scored) == 9
    for thought in scored:
        given, attempt = ("".join(map(str, digits)) for digits in (thought.problem.input, thought.answer))
        assert thought.score is not None
        assert thought.score.value == pytest.approx(by_transformers(f"fix {given}:{attempt}=", attempt), abs=1e-3)
    assert not run.summary["oracle_guided"]


def test_choice_answers_with_the_likeliest_option_and_decodes_nothing(by_transformers: Any) -> None:
    module = example("choice.py:Arithmetic").__module__
    task, search = (load(f"{module}:{name}") for name in ("Arithmetic", "Choice"))
    run = tr.run(task(limit=20), search(), tr.load("embedded"), baseline="none")
    for problem in run.problems:
        likely = {o: by_transformers(f"Q{problem.input['question']}\n", o) for o in problem.input["options"]}
        assert problem.answer == max(likely, key=lambda option: likely[option])
        best: Thought | None = problem.best
        assert best is not None
        assert best.logprob == pytest.approx(likely[problem.answer], abs=1e-3)
    assert run.summary["tokens_decoded"] == 0
    assert run.solved > 10, "one of four is right by chance"
