"""Decode steps from captured graphs equal eager steps on the torch backend, and capture only what a graph can hold.

Under Triton's interpreter, which tests/conftest.py asks for, a replay is the captured step run again. Without it
(`make gpu`) this file needs a GPU and captures for real.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
import torch

pytest.importorskip("triton")
pytest.importorskip("transformers")


from tests.engine.steps.graph_runs import (
    INTERPRETED,
    Found,
    Run,
    check_equal,
    graphs_of,
    grow_prune_and_go_on,
    make_engine,
    models,
    run_again,
)
from tests.engine.steps.watched_capture import watched
from tests.lanes import slow
from treereason.core import Prompt, Sampling, UserError
from treereason.engine import engine as engine_module
from treereason.engine.engine import Engine
from treereason.engine.schedule.branch import Branch
from treereason.engine.schedule.draft import Draft
from treereason.engine.steps import sampler
from treereason.engine.steps.cuda_capture import Body, Capture, TorchIsBroken
from treereason.engine.steps.graph_steps import BUCKETS
from treereason.engine.steps.sampling_rows import Cuts
from treereason.kernels.gpu import static_backend

if not INTERPRETED:
    pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")]
gpu_only = pytest.mark.skipif(INTERPRETED, reason="what a real capture does")
interpreted_only = pytest.mark.skipif(not INTERPRETED, reason="not a matter of graphs, or hidden by them")
__all__ = ["watched"]  # a fixture


@pytest.fixture(autouse=True)
def _empty_is_poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not written is NaN: slots of the KV pools, and attention of the rows that only pad."""
    real_empty = torch.empty

    def poisoned(*args: Any, **kwargs: Any) -> torch.Tensor:
        tensor = real_empty(*args, **kwargs)
        return tensor.fill_(float("nan")) if tensor.is_floating_point() else tensor

    monkeypatch.setattr(torch, "empty", poisoned)


@pytest.mark.parametrize(
    ("kind", "kv_tokens", "page_size"),
    [*(pytest.param(kind, 512, 16, marks=pytest.mark.slow) for kind in ("llama", "gemma2")), ("llama", 40, 4)],
)
def test_answers_and_logits_are_those_of_the_torch_backend(
    kind: str, kv_tokens: int, page_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "PAGE_SIZE", page_size)
    on_cpu, on_gpu = models(kind)
    want, got = (Run(make_engine(model, kv_tokens=kv_tokens)) for model in (on_cpu, on_gpu))
    for run in (want, got):
        # More than a page, but for the model of two layers, which takes twice the time.
        grow_prune_and_go_on(run, num_appended=page_size + 3 if kind == "llama" else 3)
    check_equal(got, want)
    assert set(want.launches) == {""}
    assert set(got.launches) == {"graph", "prefill"}
    assert got.launches.count("graph") >= 8
    assert (got.num_rebuilt > 0) == (kv_tokens < 512), "the small pool is the one that evicts"


class KnownDrafts:
    """Proposes how a branch is known to go on, with a wrong token behind, and another path beside."""

    def __init__(self, found: Found, size: int) -> None:
        self._found = found
        self._size = size

    def propose(self, branches: Sequence[Branch]) -> list[Draft]:
        drafts = []
        for branch in branches:
            known = list(self._found[branch.problem, branch.path].token_ids)[len(branch.tokens) :][: self._size]
            draft = Draft.chain([*known, 5])
            draft.add([*known[:1], 6, 7])
            drafts.append(draft)
        return drafts

    def forget(self, problem: str) -> None:
        pass


@pytest.mark.parametrize("kind", ["llama", *slow("gemma2")])
def test_steps_with_drafts_come_from_graphs_too(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "PAGE_SIZE", 4)
    on_cpu, on_gpu = models(kind)
    want = Run(make_engine(on_cpu))
    grow_prune_and_go_on(want, num_appended=5)
    got = Run(make_engine(on_gpu, drafter=KnownDrafts(want.found, size=3)))
    grow_prune_and_go_on(got, num_appended=5)
    check_equal(got, want)
    assert set(got.launches) == {"graph", "prefill"}
    assert got.launches.count("graph") < want.launches.count("") - 4
    assert got.engine.speculation is not None
    assert got.engine.speculation.figures.tokens > 10


def test_a_plan_is_made_when_the_branches_change_or_have_filled_what_it_reserved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine_module, "PAGE_SIZE", 4)
    engine = make_engine(models("llama")[1])
    run = Run(engine)
    run.submit("a", (), Prompt("ASK", max_tokens=15, ignore_end=True), 3)
    run.submit("b", (), Prompt("ASK", max_tokens=7, ignore_end=True), 1)
    run.steps(7)
    # Leaves store their 1st to 6th token: one page, then the one they had in reserve.
    assert (graphs_of(engine).num_plans, graphs_of(engine).num_captures) == (1, 1)
    addresses = buffers_of(engine)
    run.steps()
    # b is done: a plan for the 7th to 12th token; then one for the 13th to 15th, of which the last is not stored.
    assert (graphs_of(engine).num_plans, graphs_of(engine).num_captures) == (3, 1)
    assert buffers_of(engine) == addresses
    assert run.launches == ["prefill", *["graph"] * 14]


def buffers_of(engine: Engine) -> list[int]:
    """Addresses of all that a graph of four rows reads and writes."""
    graphs = graphs_of(engine)
    tensors = [graphs._buffers._in, graphs._buffers._out]
    tensors += [
        work._buffer for planned in graphs._trees[4].backend._planned.values() for work in planned.work.device.values()
    ]
    tensors += [pool for pools in engine._cache._layers.values() for pool in pools]
    assert len(tensors) == 2 + 1 + 2
    return [tensor.data_ptr() for tensor in tensors]


@pytest.mark.parametrize("kind", ["llama", *slow("gemma2")])
def test_a_plan_that_outgrows_its_buffers_gets_larger_ones_and_a_new_graph(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(static_backend, "LEAST_PAGES", 2)
    on_cpu, on_gpu = models(kind)
    runs = [Run(make_engine(model)) for model in (on_cpu, on_gpu)]
    for run in runs:
        run.submit("a", (), Prompt("ASK", max_tokens=2, ignore_end=True), 2)
        run.steps()
        longer = Prompt(" A LONGER WAY TO GO, WHICH TAKES MORE PAGES", appended=True, max_tokens=2, ignore_end=True)
        run.submit("a", (0,), longer, 2)
        run.steps()
        run.submit("b", (), Prompt("ASK", max_tokens=2, ignore_end=True), 2)
        run.steps()
    check_equal(runs[1], runs[0])
    graphs = graphs_of(runs[1].engine)
    assert graphs._trees.keys() == {2}
    assert graphs.num_captures == 2, "one for the larger buffers, none for going back"


@interpreted_only
@pytest.mark.parametrize("kind", ["llama", *slow("gemma2")])
def test_a_captured_step_waits_for_nothing_and_takes_nothing_from_the_host(kind: str, watched: Capture) -> None:
    engine = make_engine(models(kind)[1], capture=watched)
    run = Run(engine)
    run.keeps_logits = False
    run.submit("a", (), Prompt("ASK", max_tokens=2, ignore_end=True), 2)
    run.submit("b", (), Prompt("ASK", max_tokens=2, ignore_end=True), 2, Sampling(1.0, 0.5, top_k=9, min_p=0.1))
    run.steps()
    run.submit("c", (), Prompt("ASK", max_tokens=2, ignore_end=True), 2)
    run.steps()
    assert set(run.launches) == {"prefill", "graph"}
    assert graphs_of(engine)._replays.keys() == {(4, Cuts(True, 9)), (2, Cuts())}


@interpreted_only
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_sampling_by_kernels_waits_for_nothing_either(watched: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler, "_has_kernels", lambda _: True)
    engine = make_engine(models("llama")[1], capture=watched)
    run = Run(engine)
    run.keeps_logits = False
    run.submit("a", (), Prompt("ASK", max_tokens=3, ignore_end=True), 2, Sampling(1.0, 0.5, top_k=9, min_p=0.1))
    run.submit("b", (), Prompt("ASK", max_tokens=2, ignore_end=True), 1)
    run.steps()
    assert set(run.launches) == {"prefill", "graph"}
    assert graphs_of(engine)._replays.keys() == {(4, Cuts(True, 9)), (2, Cuts(True, 9))}


@interpreted_only
@pytest.mark.parametrize(
    "body",
    [
        lambda x: bool(x.any()),
        lambda x: x.tolist(),
        lambda x: x.to("meta", dtype=torch.float64),
        lambda x: x[x > 0],
        lambda x: x + torch.tensor([1.0]),
        lambda x: x.cpu(),
    ],
)
def test_the_watch_can_fail(body: Callable[[torch.Tensor], Any], watched: Capture) -> None:
    x = torch.ones(2, 3)
    with pytest.raises(AssertionError, match="in a captured step"):
        watched(lambda: body(x))


@pytest.mark.parametrize("num_captured", [0, 1])
def test_a_capture_that_fails_leaves_the_run_eager_and_says_why(num_captured: int) -> None:
    captured = 0

    def fail(body: Body) -> Body:
        nonlocal captured
        captured += 1
        if captured > num_captured:
            body()
            try:
                raise ValueError("an operation that needs the host\nand more lines")
            finally:
                raise RuntimeError("ending the capture failed as well")
        return run_again(body)

    on_cpu, on_gpu = models("llama")
    want, got = Run(make_engine(on_cpu)), Run(make_engine(on_gpu, capture=fail))
    for run in (want, got):
        run.submit("a", (), Prompt("ASK", max_tokens=6, ignore_end=True), 2)
        run.submit("b", (), Prompt("ASK", max_tokens=3, ignore_end=True), 2)
        run.steps()
    check_equal(got, want)
    assert captured == num_captured + 1
    assert got.launches[: 1 + 2 * num_captured] == ["prefill", *["graph"] * 2 * num_captured]
    [reason] = set(got.launches[1 + 2 * num_captured :])
    assert reason.startswith("cannot be captured: ValueError: an operation that needs the host (test_graphs.py, line ")
    assert graphs_of(got.engine).num_bytes == 0


def test_a_capture_that_breaks_torch_ends_the_run_with_one_line_that_says_what_to_do() -> None:
    def fail(body: Body) -> Body:
        body()
        raise TorchIsBroken("ValueError: no")

    run = Run(make_engine(models("llama")[1], capture=fail))
    run.submit("a", (), Prompt("ASK", max_tokens=6), 2)
    with pytest.raises(UserError) as caught:
        run.steps()
    assert str(caught.value) == (
        "model.name=LlamaForCausalLM: its decode step cannot be captured as a graph: ValueError: no; torch "
        f"{torch.__version__} cannot go on after that: run again with engine.graphs=false"
    )


@gpu_only
def test_a_model_that_waits_for_the_device_runs_eagerly_and_torch_still_captures() -> None:
    on_cpu, on_gpu = models("llama")
    want, got = Run(make_engine(on_cpu)), Run(make_engine(on_gpu))
    model: Any = got.engine.model
    forward_all = model.forward_all
    model.forward_all = lambda *args: forward_all(*args) + forward_all(*args).sum().item() * 0
    for run in (want, got):
        run.submit("a", (), Prompt("ASK", max_tokens=6, ignore_end=True), 2)
        run.steps()
    check_equal(got, want)
    assert got.launches[0] == "prefill"
    [reason] = set(got.launches[1:])
    assert "synchronizing" in reason
    assert "test_graphs.py, line" in reason
    again = Run(make_engine(models("llama")[1]))
    again.submit("a", (), Prompt("ASK", max_tokens=6, ignore_end=True), 2)
    again.steps()
    assert again.launches == ["prefill", *["graph"] * 5]
    assert graphs_of(again.engine).num_bytes > 0


@interpreted_only
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"graphs": False}, "engine.graphs=false"),
        ({"deterministic": True}, "engine.deterministic"),
        ({"token_statistics": True}, "engine.token_statistics"),
        ({"attention": "tree"}, "attention=tree"),
    ],
)
def test_an_engine_without_graphs_says_why(options: dict[str, Any], reason: str) -> None:
    run = Run(make_engine(models("llama")[1], **options))
    run.submit("a", (), Prompt("ASK", max_tokens=2), 1)
    run.steps()
    assert set(run.launches) == {reason}


def test_more_rows_than_the_largest_graph_run_eagerly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("treereason.engine.steps.graph_steps.BUCKETS", (1, 2))
    run = Run(make_engine(models("llama")[1]))
    run.submit("a", (), Prompt("ASK", max_tokens=2, ignore_end=True), 3)
    run.steps()
    assert run.launches == ["prefill", "more than 2 rows"]


def test_text_is_made_while_the_next_step_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make_engine(models("llama")[1])
    order: list[str] = []
    graphs = graphs_of(engine)

    def note(name: str, real: Callable[..., Any], *args: Any) -> Any:
        order.append(name)
        return real(*args)

    for owner, name in ((graphs, "start"), (graphs, "finish"), (engine.model, "decode")):
        monkeypatch.setattr(owner, name, partial(note, name, getattr(owner, name)))
    run = Run(engine)
    run.submit("a", (), Prompt("ASK", max_tokens=2, ignore_end=True), 1)
    run.submit("b", (), Prompt("ASK", max_tokens=3, ignore_end=True), 1)
    run.steps(2)
    assert run.found == {}
    assert ("a", (0,)) in engine._thoughts, "it can be dropped or continued all the same"
    run.steps()
    # The first start refuses, since the step is a prefill. The last text has no step to hide behind.
    # The first texts are the prompts', and each text is decoded with the one in front of it.
    text = ["decode", "decode"]
    assert order == [*text, "start", "start", "finish", "start", *text, "finish", *text]
    assert set(run.found) == {("a", (0,)), ("b", (0,))}


def test_the_next_step_is_launched_before_a_step_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between reading a step and the launch of the next one, the host does nothing: that is on its way already."""
    engine = make_engine(models("llama")[1])
    graphs = graphs_of(engine)
    order: list[str] = []
    steps = iter(range(100))

    def launch(real: Callable[..., Any], loaded: Any, replay: Body) -> Any:
        order.append(f"launch {loaded.step}")
        return real(loaded, replay)

    def read(real: Callable[..., Any], *args: int) -> Any:
        order.append(f"read {next(steps)}")
        return real(*args)

    monkeypatch.setattr(graphs, "_run", partial(launch, graphs._run))
    monkeypatch.setattr(graphs._buffers, "read", partial(read, graphs._buffers.read))
    run = Run(engine)
    run.submit("a", (), Prompt("ASK", max_tokens=6, ignore_end=True), 2)
    run.steps()
    assert order[:8] == ["launch 1", "launch 2", "read 0", "launch 3", "read 1", "launch 4", "read 2", "launch 5"]
    assert order[8:] == ["read 3", "read 4"], "all are at their limit then: nothing is launched for nothing"
    assert graphs.num_plans == 1


def test_a_branch_that_ends_takes_nothing_from_those_that_were_launched_with_it() -> None:
    """Ends that nobody foresees, at any step: every end token, and a stop string."""
    on_cpu, on_gpu = models("llama")
    for model in (on_cpu, on_gpu):
        model.eos_ids = frozenset(range(40, 64))
    want, got = (Run(make_engine(model)) for model in (on_cpu, on_gpu))
    for run in (want, got):
        run.submit("a", (), Prompt("ASK", max_tokens=8), 4)
        run.submit("b", (), Prompt("ANOTHER", max_tokens=8, ignore_end=True, stop=("A", "7", "K")), 3)
        run.steps()
        run.submit("c", (), Prompt("AFTER THAT, THE SAME PAGES", max_tokens=2, ignore_end=True), 3)
        run.steps()
    check_equal(got, want)
    lengths = {child.num_tokens for child in want.found.values()}
    assert len(lengths) > 3, "they end at different steps"
    assert got.launches.count("graph") > 5


def test_a_prompt_waits_one_step_for_what_is_launched_already() -> None:
    run = Run(make_engine(models("llama")[1]))
    run.submit("a", (), Prompt("ASK", max_tokens=9, ignore_end=True), 2)
    run.steps(3)
    run.submit("b", (), Prompt("ASK", max_tokens=2, ignore_end=True), 1)
    run.steps()
    assert run.launches == ["prefill", "graph", "graph", "graph", "prefill", *["graph"] * 4]


def test_what_a_stopped_problem_had_finished_is_neither_lost_nor_kept() -> None:
    engine = make_engine(models("llama")[1])
    run = Run(engine)
    for problem in "ab":
        run.submit(problem, (), Prompt("ASK", max_tokens=2, ignore_end=True), 1)
        run.submit(problem, (7,), Prompt("ASK", max_tokens=9, ignore_end=True), 1)
    run.steps(2)
    engine.end_problem("b")
    engine.stop("a", "time is up")
    run.steps()
    assert {key: child.error for key, child in run.found.items()} == {("a", (0,)): None, ("a", (7, 0)): "time is up"}
    engine.end_problem("a")
    assert engine.forest.num_tokens == 0


def test_buckets_end_at_the_most_branches() -> None:
    for most, want in ((1, [1]), (5, [1, 2, 4, 5]), (100, [*BUCKETS[:10], 100]), (9_999, list(BUCKETS))):
        assert graphs_of(make_engine(models("llama")[1], max_branches=most))._buckets == want
