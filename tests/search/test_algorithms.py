"""Each search expands what its paper's pseudo-code expands, and finds what it finds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from math import exp
from random import Random
from statistics import fmean, pvariance, quantiles
from typing import Any

import pytest

from tests.fakes import NumberTask, Outcome, run_search
from tests.search import independent
from treereason import events
from treereason.core import Expansion, Problem, Score, Search, Thought, ThoughtPath
from treereason.search import (
    ABMCTS,
    DVTS,
    ETS,
    MCTS,
    Beam,
    BestOfN,
    DepthFirst,
    ParticleFiltering,
    Rebase,
    Refine,
    SampleUntil,
    SelfConsistency,
    SuccessiveHalving,
    TreeOfThoughts,
    ab_mcts,
)
from treereason.search.posteriors import beta, gaussian

STEPS = 3
SEEDS = range(6)


def run(search: Search, seed: int, steps: int = STEPS, **options: Any) -> Outcome:
    value = independent.values(seed)
    return run_search(search, lambda path: str(int(value(path))), NumberTask(steps=steps), **options)


def expanded(outcome: Outcome) -> list[tuple[ThoughtPath, int]]:
    """Who was expanded, and into how many."""
    return [(each.parent, len(each.children)) for each in outcome.engine.requests if isinstance(each, Expansion)]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("n", "beam_width"), [(8, 4), (6, 2), (4, 4)])
def test_beam_keeps_the_best_of_every_step(seed: int, n: int, beam_width: int) -> None:
    tree, best = independent.beam(independent.values(seed), STEPS, n, beam_width)
    outcome = run(Beam(n=n, beam_width=beam_width), seed)
    assert expanded(outcome) == tree.expanded
    assert outcome.done.best == best


@pytest.mark.parametrize("seed", SEEDS)
def test_a_lookahead_scores_a_step_by_what_lies_below_it(seed: int) -> None:
    value = independent.values(seed)
    outcome = run(Beam(n=4, beam_width=2, lookahead=1), seed)
    first = sorted(((rank,) for rank in range(4)), key=lambda path: (-value((*path, 0)), path))[:2]
    assert [event.thought for event in outcome.of(events.ThoughtKept)][:2] == first
    ahead = [each for each in outcome.engine.expansions if each.sampling.temperature == 0]
    assert {each.parent for each in ahead[:4]} == {(0,), (1,), (2,), (3,)}


@pytest.mark.parametrize("seed", SEEDS)
def test_dvts_never_compares_two_subtrees(seed: int) -> None:
    value, ends = independent.values(seed), list[ThoughtPath]()
    for subtree in range(3):
        path = independent.best([(4 * subtree + rank,) for rank in range(4)], value)
        for _ in range(STEPS - 1):
            path = independent.best([(*path, rank) for rank in range(4)], value)
        ends.append(path)
    outcome = run(DVTS(n=12, beam_width=4), seed)
    assert {event.thought for event in outcome.of(events.ThoughtKept)} >= set(ends)
    assert len(outcome.of(events.ThoughtKept)) == 3 * STEPS
    assert outcome.done.best == independent.best(ends, value)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("balance", [100.0, 3_000.0])
def test_rebase_shares_out_branches_by_the_softmax_of_scores(seed: int, balance: float) -> None:
    value = independent.values(seed)
    tree, whole = independent.rebase(value, STEPS, 12, balance)
    outcome = run(Rebase(width=12, balance=balance), seed)
    assert expanded(outcome) == tree.expanded
    votes = defaultdict[float, float](float)
    for path in whole:
        votes[value(path)] += value(path)
    assert outcome.done.answer == max(votes, key=votes.__getitem__)
    assert run(Rebase(width=12, balance=balance, answer="best"), seed).done.best == independent.best(whole, value)


def likely(_: str) -> float:
    return -1.0


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("policy", ["uct", "puct"])
@pytest.mark.parametrize("backup", ["mean", "max"])
@pytest.mark.parametrize("c", [0.0, 3_000.0])
def test_mcts_expands_in_the_order_of_the_textbook(seed: int, policy: Any, backup: Any, c: float) -> None:
    tree, best = independent.mcts(independent.values(seed), STEPS, 14, 2, c, policy, backup)
    outcome = run(MCTS(n_iters=14, k=2, c=c, policy=policy, backup=backup), seed, likely=likely)
    assert expanded(outcome) == tree.expanded
    assert outcome.done.best == best


def test_policies_and_backups_of_mcts_differ() -> None:
    orders = {
        str(independent.mcts(independent.values(2), STEPS, 30, 3, 3_000.0, policy, backup)[0].expanded)
        for policy in ("uct", "puct")
        for backup in ("mean", "max")
    }
    assert len(orders) >= 3


@pytest.mark.parametrize("seed", SEEDS)
def test_leaves_in_flight_are_different_ones_and_all_rollouts_are_made(seed: int) -> None:
    outcome = run(MCTS(n_iters=16, k=3, c=3_000.0, parallel=4), seed)
    parents = [parent for parent, _ in expanded(outcome)]
    assert len(parents) == len(set(parents)), "one leaf was expanded twice"
    # The first rollout goes alone: there is only the root.
    assert parents[:STEPS] == [(), parents[1], parents[2]]
    assert len({parent[:1] for parent in parents[STEPS : STEPS + 3]}) > 1, "virtual loss sends rollouts elsewhere"


def test_mcts_ends_at_a_final_score_and_after_rollouts_in_vain() -> None:
    final = run_search(MCTS(n_iters=50, k=2), lambda path: "9" if len(path) == 2 else "3", NumberTask(steps=2))
    assert len(expanded(final)) == 2
    vain = run_search(MCTS(n_iters=50, k=2, patience=3), lambda _: "3", NumberTask(steps=6))
    long = run_search(MCTS(n_iters=50, k=2), lambda _: "3", NumberTask(steps=6))
    assert len(expanded(vain)) < len(expanded(long))


@pytest.mark.parametrize("seed", SEEDS)
def test_depth_first_goes_back_where_scores_are_too_low(seed: int) -> None:
    value = independent.values(seed)
    for v_th, n_iters in ((4_000.0, 100), (1_000.0, 5)):
        tree, best = independent.depth_first(value, STEPS, 2, v_th, n_iters)
        outcome = run(DepthFirst(k=2, v_th=v_th, n_iters=n_iters), seed)
        assert expanded(outcome) == tree.expanded
        assert outcome.done.best == best


def optimistic(seen: Sequence[float]) -> float:
    """In place of a draw: the mean, and less for every score seen."""
    return sum(seen) / len(seen) - 500 * len(seen) if seen else 4_500.0


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("steps", [1, 3])
def test_ab_mcts_goes_wider_or_deeper_as_its_posteriors_say(
    seed: int, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ab_mcts, "gaussian", lambda _, seen: optimistic(seen))
    outcome = run(ABMCTS(n_iters=12), seed, steps)
    made = [child for each in outcome.engine.expansions for child in each.children]
    assert made == independent.ab_mcts(independent.values(seed), steps, 12, optimistic)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("entropic", [False, True])
def test_particles_are_drawn_by_the_softmax_of_their_scores(seed: int, entropic: bool) -> None:
    """What is drawn, is continued as often as it was drawn; the draws are those of the tree's own random numbers."""
    value, n, heat = independent.values(seed), 6, 800.0
    outcome = run(ParticleFiltering(n=n, temperature=heat, entropic=entropic), seed)
    requests = expanded(outcome)
    assert requests[0] == ((), n)
    for step in range(1, STEPS):
        below = [request for request in requests if len(request[0]) == step]
        assert sum(count for _, count in below) == n
    weights = ParticleFiltering(n=n, temperature=heat, entropic=entropic)
    particles = [Thought(Problem("p", 9), (i,), score=Score(value((i,)))) for i in range(n)]
    total = sum(exp(value((i,)) / heat) for i in range(n))
    plain = [exp(value((i,)) / heat) / total for i in range(n)]
    effective = 1 / sum(share**2 for share in plain)
    hot = heat * max(1.0, n / effective * (1 - 1 / 40)) if entropic and effective < n / 2 else heat
    total = sum(exp(value((i,)) / hot) for i in range(n))
    assert weights.weights(particles, 1) == pytest.approx([exp(value((i,)) / hot) / total for i in range(n)])


@pytest.mark.parametrize("answer", ["best", "vote"])
@pytest.mark.parametrize("steps", [1, 2])
def test_particles_of_the_last_step_that_is_allowed_are_scored(answer: Any, steps: int) -> None:
    outcome = run(ParticleFiltering(n=4, answer=answer, steps=steps), 0, steps)
    assert outcome.done.status == "done"
    assert len(outcome.done.best or ()) == steps


@pytest.mark.parametrize(
    "search",
    [
        Beam(steps=1),
        DVTS(steps=1),
        ETS(steps=1),
        Rebase(steps=1),
        ParticleFiltering(steps=1),
        TreeOfThoughts(steps=1),
        MCTS(n_iters=1, depth_limit=1),
        ABMCTS(n_iters=1),
        DepthFirst(n_iters=1),
    ],
    ids=lambda search: type(search).__name__,
)
def test_one_step_is_enough_for_an_answer_of_one_step(search: Search) -> None:
    assert run_search(search, lambda _: "5").done.answer == 5


def test_sampling_stops_as_soon_as_a_score_is_final() -> None:
    def script(path: ThoughtPath) -> str:
        return "9" if path == (3,) else "5"

    assert len(expanded(run_search(SampleUntil(n=10), script))) == 4
    assert expanded(run_search(SampleUntil(n=10, at_once=3), script)) == [((), 3), ((), 3)]
    assert expanded(run_search(SampleUntil(n=4, at_once=3), lambda _: "5")) == [((), 3), ((), 1)]
    assert run_search(SampleUntil(n=10), script).done.best == (3,)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("aggregate", ["last", "min", "prod", "mean"])
def test_best_of_n_ranks_by_the_scores_of_all_steps(seed: int, aggregate: Any) -> None:
    value = independent.values(seed)
    chains = [[(i,), (i, 0), (i, 0, 0)] for i in range(5)]
    ranks: dict[str, Callable[[list[float]], float]] = {
        "last": lambda scores: scores[-1],
        "min": min,
        "prod": lambda scores: scores[0] * scores[1] * scores[2],
        "mean": lambda scores: sum(scores) / 3,
    }
    best = max(chains, key=lambda chain: ranks[aggregate]([value(path) for path in chain]))
    assert run(BestOfN(n=5, aggregate=aggregate), seed).done.best == best[-1]


def test_a_weighted_vote_counts_scores_and_a_majority_samples() -> None:
    texts: dict[ThoughtPath, str] = {(0,): "2", (1,): "2", (2,): "2", (3,): "7", (4,): "5"}
    assert run_search(SelfConsistency(n=5), texts.__getitem__).done.answer == 2
    assert run_search(SelfConsistency(n=5, vote="weighted"), texts.__getitem__).done.answer == 7


def test_a_weighted_vote_without_any_weight_is_a_majority_vote() -> None:
    texts: dict[ThoughtPath, str] = {(0,): "3", (1,): "4", (2,): "4"}
    search = SelfConsistency(n=3, vote="weighted")
    assert run_search(search, texts.__getitem__, scorer=lambda _: Score(0.0)).done.answer == 4


def test_refinement_goes_on_from_the_best_that_it_has_found() -> None:
    texts = {(0,): "3", (0, 0): "5", (0, 1): "4", (0, 0, 0): "2", (0, 0, 1): "1", (0, 0, 2): "8", (0, 0, 3): "6"}
    outcome = run_search(Refine(steps=3, k=2), texts.__getitem__, Improve())
    assert [parent for parent, _ in expanded(outcome)] == [(), (0,), (0, 0), (0, 0)]
    assert outcome.done.best == (0, 0, 2)


class Improve(NumberTask):
    """Every thought is an answer, and may be improved."""

    def prompt(self, thought: Thought, style: str) -> Any:
        return NumberTask.prompt(NumberTask(), Thought(thought.problem), style)

    def parse(self, thought: Thought) -> int:
        return int(thought.text)


def test_of_samples_in_mid_thought_the_likelier_part_goes_on() -> None:
    texts: dict[ThoughtPath, str] = {(i,): str(10 ** (4 + i)) for i in range(4)}
    outcome = run_search(SuccessiveHalving(n=4, eta=2, chunk=3), texts.__getitem__, likely=lambda t: -float(len(t)))
    assert outcome.done.answer is not None
    assert len(outcome.of(events.ThoughtPruned)) >= 2


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("eta", "chunk"), [(2, 4), (3, 5)])
def test_of_the_arms_the_eta_th_part_of_least_loss_is_pulled_on(seed: int, eta: int, chunk: int) -> None:
    rng = Random(seed)
    texts: dict[ThoughtPath, str] = {(i,): f"{i + 1}{10 ** rng.randrange(3, 18)}" for i in range(9)}

    def loss(text: str) -> float:
        return Random(f"{seed}/{text}").random()

    left, best = independent.successive_halving(texts, loss, eta, chunk)
    search = SuccessiveHalving(n=9, eta=eta, chunk=chunk)
    outcome = run_search(search, texts.__getitem__, likely=lambda text: -loss(text) * len(text))
    assert outcome.done.best == best
    assert {event.thought for event in outcome.of(events.ThoughtPruned)} == texts.keys() - set(left)


@pytest.mark.parametrize("seen", [[], [0.5], [0.2, 0.9, 0.4], [1.0] * 6])
def test_ab_mcts_draws_a_mean_from_the_papers_posteriors(seen: list[float]) -> None:
    """Quartiles of Student's t in units of its scale, from tables; mean and variance of the beta distribution."""
    quartile = {1: 1.0, 2: 0.8165, 4: 0.7407, 7: 0.7111}
    rng, num = Random(0), 20_000
    freedom, centre, scale = independent.student_t(seen)
    low, middle, high = quantiles((gaussian(rng, seen) for _ in range(num)), n=4)
    assert middle == pytest.approx(centre, abs=0.05 * scale)
    assert [low, high] == pytest.approx(
        [centre - quartile[freedom] * scale, centre + quartile[freedom] * scale], abs=0.05 * scale
    )
    a, b = 0.5 + sum(seen), 0.5 + len(seen) - sum(seen)
    drawn = [beta(rng, seen) for _ in range(num)]
    assert fmean(drawn) == pytest.approx(a / (a + b), abs=0.01)
    assert pvariance(drawn) == pytest.approx(a * b / (a + b) ** 2 / (a + b + 1), abs=0.005)


def test_successive_halving_says_that_a_server_without_log_probabilities_cannot_rank() -> None:
    outcome = run(SuccessiveHalving(n=4), 0, likely=dict[str, float]().get)
    errors = {event.error for event in outcome.of(events.ThoughtFailed)}
    assert len(errors) == 1
    assert "search=successive_halving ranks by log-probability, and the server tells none" in errors.pop()
