"""Engine, scheduler, forest and page pool together under random use, against a naive model of one branch at a time.

The network is replaced by `HashModel`: two layers of hashing over the slots that the step's plan tells each row to
read. A row that misses a token, reads one too many, or finds a page that someone else wrote to gets other logits, and
so other text, than the naive decoder, which knows neither plan nor pages nor forest.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from treereason.core import Decoded, Expansion, Prompt, Sampling
from treereason.engine.attention.eager_step import AttentionKind, EagerStep
from treereason.engine.engine import PAGE_SIZE, Engine
from treereason.engine.kv.cache import KVCache
from treereason.engine.kv.forest import RUN
from treereason.engine.model.language_model import LanguageModel
from treereason.engine.schedule.branch import Branch
from treereason.engine.schedule.pending_prompt import PendingPrompt
from treereason.engine.schedule.step_batch import StepBatch
from treereason.engine.steps import graph_steps
from treereason.engine.steps.cuda_capture import Body
from treereason.engine.steps.sampler import branch_key, sample
from treereason.kernels.gpu.make_work import make_work
from treereason.kernels.gpu.work import NoPageLeft
from treereason.kernels.plan import Plan

Uint64 = npt.NDArray[np.uint64]
ThoughtPath = tuple[int, ...]

VOCABULARY = 9
END = VOCABULARY - 1
MAX_POSITIONS = 90
LETTERS = "abcdefgh$"
NAN_EVERY = 211
HEADS = ("", "abcdefgh" * 3, "abcdefgh" * 2 + "hg")
BASES = ("abcdefghabcdefgaaabbbcccdddeeefffggg" * 2, "abcdefghabcdefgahhhggg" * 3, "c" * 60)
PROBLEMS = ("p", "q", "r")


def _mix(x: Uint64) -> Uint64:
    """Finaliser of splitmix64 (public domain), modulo 2^64."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _embed(tokens: Uint64, positions: Uint64) -> Uint64:
    """First layer's KV."""
    return _mix(tokens * np.uint64(1_000_003) + positions + np.uint64(17))


def _second(attended: Uint64, positions: Uint64) -> Uint64:
    """Second layer's KV."""
    return _mix(attended ^ (positions * np.uint64(0x9E3779B97F4A7C15)))


def _logits(attended: Uint64) -> torch.Tensor:
    """[N, V] float32 from the second layer's output [N]; now and then a row of NaN."""
    bits = _mix(attended[:, None] + np.arange(VOCABULARY, dtype=np.uint64)[None]) >> np.uint64(44)
    logits = torch.from_numpy(bits.astype(np.float32) / np.float32(2**20) * 4)
    logits[torch.from_numpy(attended % np.uint64(NAN_EVERY) == 0)] = float("nan")
    return logits


class HashModel:
    """What the engine asks of a model. KV are hashes: layer 2's depend on all that layer 1 of the row has read."""

    max_positions = MAX_POSITIONS
    vocabulary_size = VOCABULARY
    eos_ids = frozenset([END])
    style = "plain"
    attention: AttentionKind = "tree"
    device = torch.device("cpu")

    def __init__(self, num_slots: int, max_rows: int) -> None:
        self._layers = [np.zeros(num_slots, dtype=np.uint64) for _ in range(2)]
        self._max_rows = max_rows

    def forward(self, step: EagerStep, rows: list[int]) -> torch.Tensor:
        assert len(step.token_ids) <= self._max_rows
        slots = step.slots.numpy()
        assert len(set(slots.tolist())) == len(slots), "two rows store into one slot"
        positions = step.positions.numpy().astype(np.uint64)
        values = _embed(step.token_ids.numpy().astype(np.uint64), positions)
        for layer, stored in enumerate(self._layers):
            stored[slots] = values
            attended = self._attend(step, stored)
            if layer == 0:
                values = _second(attended, positions)
        return _logits(attended)[rows]

    def _attend(self, step: EagerStep, stored: Uint64) -> Uint64:
        plan = step.plan
        out = np.zeros(plan.num_rows, dtype=np.uint64)
        for node in range(plan.num_nodes):
            lo, hi = plan.node_lo[node], plan.node_hi[node]
            values = stored[plan.slots(node)]
            positions = plan.node_start[node] + np.arange(len(values))
            visible = positions[None] <= plan.row_position[lo:hi, None]
            out[lo:hi] += np.where(visible, values[None], np.uint64(0)).sum(axis=1, dtype=np.uint64)
        return out

    def encode(self, prompt: Prompt) -> tuple[list[int], int]:
        return [LETTERS.index(letter) for letter in prompt.shared + prompt.text], len(prompt.shared)

    def encode_appended(self, prompt: Prompt) -> list[int]:
        return [LETTERS.index(letter) for letter in prompt.text]

    def decode(self, tokens: list[int]) -> str:
        return "".join(LETTERS[token] for token in tokens)

    def token_text(self, token: int) -> str:
        return LETTERS[token]


class HashBackend:
    """Stands in for the static backend on a GPU: the page table of a plan that is loaded and advanced in place."""

    def __init__(self, plan: Plan) -> None:
        self._cut(plan)
        self.captured = False

    def load(self, plan: Plan) -> bool:
        self._cut(plan)
        self.captured = self.captured and plan.num_nodes % 5 != 0  # now and then it has outgrown its buffers
        return self.captured

    def advance(self, row_pages: Sequence[int]) -> bool:
        try:
            self.work.advance(np.array(row_pages, dtype=np.int32))
        except NoPageLeft:
            return False
        return True

    def _cut(self, plan: Plan) -> None:
        self.work = make_work(plan, block_rows=4, tile_pages=2, num_spans=3)


class HashTree:
    """As engine.attention.GraphStep."""

    def __init__(self, cache: KVCache, plan: Plan, num_rows: int) -> None:  # noqa: ARG002
        self.backend = HashBackend(plan)
        self.num_rows = num_rows


class GraphModel(HashModel):
    """The same on a machine that captures. A replay reads what the buffers hold now, the plan's in place."""

    attention: AttentionKind = "triton"
    capturing = False

    def capture(self, body: Body) -> Body:
        self.capturing = True
        body()
        self.capturing = False
        return body

    def forward_all(self, token_ids: torch.Tensor, positions: torch.Tensor, tree: HashTree) -> torch.Tensor:
        assert len(token_ids) == len(positions) == tree.num_rows
        assert self.capturing or tree.backend.captured, "a replay over buffers that were given up"
        tree.backend.captured = True
        work = tree.backend.work
        num_rows = len(work.row_slot)
        assert positions.tolist() == [*work.row_position.tolist(), *[0] * (tree.num_rows - num_rows)]
        assert len(set(work.row_slot.tolist())) == num_rows, "two rows store into one slot"
        where = positions.numpy()[:num_rows].astype(np.uint64)
        values = _embed(token_ids.numpy()[:num_rows].astype(np.uint64), where)
        for layer, stored in enumerate(self._layers):
            stored[work.row_slot] = values
            attended = np.zeros(num_rows, dtype=np.uint64)
            for page, count, lo, hi in zip(work.page, work.page_tokens, work.page_lo, work.page_hi, strict=True):
                attended[lo:hi] += stored[page * PAGE_SIZE : page * PAGE_SIZE + count].sum(dtype=np.uint64)
            if layer == 0:
                values = _second(attended, where)
        padding = torch.full((tree.num_rows - num_rows, VOCABULARY), float("nan"))
        return torch.cat([_logits(attended), padding])


@dataclass(frozen=True)
class Answer:
    """What one branch gives when it is decoded alone. tokens: all that a continuation stands on."""

    text: str
    tokens: tuple[int, ...]
    num_decoded: int
    error: str | None = None
    ended: bool = False


def decode_alone(prompt_tokens: list[int], prompt: Prompt, sampling: Sampling, key: int) -> Answer:
    """The branch's answer by its definition: one token after another, from nothing but the tokens before it."""
    position = np.arange(MAX_POSITIONS + 1, dtype=np.uint64)
    tokens: list[int] = []
    first = second = np.zeros(1, dtype=np.uint64)
    num_read = 0
    while True:
        for place in range(num_read, len(prompt_tokens) + len(tokens)):
            token = (prompt_tokens + tokens)[place]
            first = first + _embed(np.array([token], dtype=np.uint64), position[place : place + 1])
            second = second + _second(first, position[place : place + 1])
        num_read = len(prompt_tokens) + len(tokens)
        logits = _logits(second)
        if bool(logits.isnan().any()):
            error = f"the model returned logits that are NaN or infinite at position {num_read}"
            return Answer(_text(tokens), (), len(tokens), error)
        drawn, _ = sample(
            logits,
            torch.tensor([key]),
            torch.tensor([num_read]),
            torch.tensor([sampling.temperature]),
            torch.tensor([sampling.top_p]),
        )
        tokens.append(int(drawn[0]))
        text = _text(tokens)
        if tokens[-1] == END and not prompt.ignore_end:
            return Answer(text[:-1], (*prompt_tokens, *tokens[:-1]), len(tokens), ended=True)
        if ends := [text.find(stop) for stop in prompt.stop if stop in text]:
            return Answer(text[: min(ends)], (*prompt_tokens, *tokens), len(tokens))
        if len(tokens) == min(prompt.max_tokens, MAX_POSITIONS - len(prompt_tokens)):
            return Answer(text, (*prompt_tokens, *tokens), len(tokens))


def _text(tokens: list[int]) -> str:
    return "".join(LETTERS[token] for token in tokens)


class WatchedEngine(Engine):
    """Checks, where a branch or prompt is given up for its size, that its path indeed needs more than the pool.

    reads: KV tokens that the last step had to read, each node once, and every branch its own path.
    """

    reads = 0, 0

    def _refuse(self, work: StepBatch) -> None:
        on_paths = {part for node in work.tokens for part in node.path()}
        tree = sum(part.num_cached for part in on_paths)
        ends: list[Branch | PendingPrompt] = [*work.branches, *work.prompts]
        alone = sum(part.num_cached for end in ends for part in end.node.path())
        self.reads = tree, alone or tree
        super()._refuse(work)

    def _give_up(self, item: Branch | PendingPrompt, error: str) -> None:
        if "do not fit" in error:
            pages = sum(-(-len(node.tokens) // PAGE_SIZE) for node in item.node.path())
            assert pages > self.forest.pool.num_pages, f"{error}, but it needs {pages} pages"
        super()._give_up(item, error)


@dataclass
class Asked:
    """A child in flight: what decodes it, or the error that its submission must have met."""

    prompt_tokens: list[int]
    prompt: Prompt
    sampling: Sampling
    error: str | None = None


@dataclass
class Tally:
    """How often things happened, over all examples of a test."""

    rules: int = 0
    steps: int = 0
    plans: int = 0
    kinds: dict[str, int] = field(default_factory=dict)

    def count(self, kind: str) -> None:
        self.kinds[kind] = self.kinds.get(kind, 0) + 1


class EngineMachine(RuleBasedStateMachine):
    """Three problems on one engine whose pool is sometimes ample, sometimes smaller than a single branch."""

    tally = Tally()
    from_graphs = False

    @initialize(
        num_pages=st.sampled_from([1, 2, 3, 4, 5, 6, 8, 12, 40]),
        max_branches=st.sampled_from([1, 2, 3, 64]),
        prefill_tokens=st.sampled_from([1, 5, 16, 200]),
    )
    def start(self, num_pages: int, max_branches: int, prefill_tokens: int) -> None:
        self.max_branches, self.prefill_tokens = max_branches, prefill_tokens
        kind = GraphModel if self.from_graphs else HashModel
        model = kind(num_pages * PAGE_SIZE, max_branches + prefill_tokens)
        self.engine = WatchedEngine(
            cast(LanguageModel, model),
            seed=3,
            max_branches=max_branches,
            prefill_tokens=prefill_tokens,
            kv_tokens=num_pages * PAGE_SIZE,
            capture=model.capture if isinstance(model, GraphModel) else None,
        )
        self.asked: dict[tuple[str, ThoughtPath], Asked] = {}
        self.thoughts: dict[tuple[str, ThoughtPath], Answer] = {}
        self.stopped: set[tuple[str, ThoughtPath]] = set()
        self.num_children: dict[tuple[str, ThoughtPath], int] = {}
        self.num_plans = 0

    @rule(
        problem=st.sampled_from(PROBLEMS),
        head=st.sampled_from(HEADS),
        base=st.sampled_from(BASES),
        length=st.integers(0, 60),
        k=st.integers(1, 5),
        ending=st.sampled_from(["", "a", "bb", "h" * 20, "g" * 40]),
        options=st.tuples(
            st.integers(1, 40), st.sampled_from([(), ("a",), ("bc", "dd")]), st.booleans(),
            st.sampled_from([0.0, 0.5, 1.0, 3.0]), st.sampled_from([1.0, 0.6]),
        ),
    )  # fmt: skip
    def submit_fresh(
        self, problem: str, head: str, base: str, length: int, k: int, ending: str, options: tuple[Any, ...]
    ) -> None:
        max_tokens, stop, ignore_end, temperature, top_p = options
        prompt = Prompt(base[:length] + ending, shared=head, max_tokens=max_tokens, stop=stop, ignore_end=ignore_end)
        self._submit(problem, (), prompt, k, Sampling(temperature, top_p))

    @precondition(lambda self: self._in_flight())
    @rule(which=st.integers(0, 10_000), ending=st.sampled_from(["a", "hc"]), k=st.integers(1, 3))
    def submit_what_a_running_branch_has_written(self, which: int, ending: str, k: int) -> None:
        branches = self._in_flight()
        branch = branches[which % len(branches)]
        text = _text([token for node in branch.node.path() for token in node.tokens])
        self._submit(branch.problem, (), Prompt(text + ending, max_tokens=6), k, Sampling(1.0))

    @precondition(lambda self: self.thoughts)
    @rule(
        which=st.integers(0, 10_000),
        text=st.sampled_from(["", "", "a", "ab" * 5, "c" * 33]),
        k=st.integers(1, 4),
        max_tokens=st.integers(1, 20),
        temperature=st.sampled_from([0.0, 1.0]),
    )
    def submit_appended(self, which: int, text: str, k: int, max_tokens: int, temperature: float) -> None:
        problem, path = list(self.thoughts)[which % len(self.thoughts)]
        self._submit(problem, path, Prompt(text, appended=True, max_tokens=max_tokens), k, Sampling(temperature))

    @rule(problem=st.sampled_from(PROBLEMS))
    def submit_below_what_is_gone(self, problem: str) -> None:
        self._submit(problem, (999,), Prompt("a", appended=True), 1, Sampling())

    @precondition(lambda self: self.engine.busy)
    @rule(count=st.sampled_from([1, 1, 2, 5, 20]))
    def steps(self, count: int) -> None:
        for _ in range(count):
            if self.engine.busy:
                self._step()

    @precondition(lambda self: self.thoughts)
    @rule(which=st.integers(0, 10_000))
    def release(self, which: int) -> None:
        key = list(self.thoughts)[which % len(self.thoughts)]
        del self.thoughts[key]
        self.engine.release(*key)

    @rule(problem=st.sampled_from(PROBLEMS))
    def stop(self, problem: str) -> None:
        self.stopped |= {key for key in self.asked if key[0] == problem}
        self.engine.stop(problem, "time is up")

    @rule(problem=st.sampled_from(PROBLEMS))
    def end(self, problem: str) -> None:
        peak = self.engine.end_problem(problem)
        assert 0 <= peak <= self.engine.forest.pool.num_pages * PAGE_SIZE
        for of_thoughts in (self.asked, self.thoughts):
            for key in [key for key in of_thoughts if key[0] == problem]:
                del of_thoughts[key]
        assert not any(node.owner == problem for node in self.engine.forest.nodes())
        self.stopped = {key for key in self.stopped if key[0] != problem}

    @precondition(lambda self: self.engine.busy)
    @rule()
    def finish(self) -> None:
        for _ in range(20_000):
            if not self.engine.busy:
                break
            self._step()
        assert not self.engine.busy, "the engine does not come to an end"
        assert not self.asked, "children that never came back"

    @precondition(lambda self: hasattr(self, "engine"))
    @invariant()
    def count_rule(self) -> None:
        type(self).tally.rules += 1

    @precondition(lambda self: hasattr(self, "engine"))
    @invariant()
    def check_all(self) -> None:
        """After every rule, and within rules after every step."""
        engine, forest = self.engine, self.engine.forest
        forest.check()
        assert forest.num_tokens_peak <= forest.pool.num_pages * PAGE_SIZE
        stood_on = [branch.node for branch in self._in_flight()]
        stood_on += [job.node for job in engine._scheduler._prompts]
        stood_on += [node for node, _ in engine._thoughts.values()] + list(engine._shared_prefixes.values())
        for node in forest.nodes():
            assert node.num_references == sum(one is node for one in stood_on), "holders miscounted"
            assert not node.growing or not node.children, "something below a growing node"
            assert node.parent is not None
            assert node.parent.owner in (node.owner, RUN), "standing on another problem's node"
        assert engine._thoughts.keys() - self._unread() == self.thoughts.keys()

    def teardown(self) -> None:
        if not hasattr(self, "engine"):
            return
        if self.engine.busy:
            self.finish()
        for problem in PROBLEMS:
            self.end(problem)
        self.check_all()
        heads = self.engine._shared_prefixes
        for head, node in heads.items():
            assert [token for part in node.path() for token in part.tokens] == list(head)
        on_heads = {part for node in heads.values() for part in node.path()}
        assert set(self.engine.forest.nodes()) == on_heads, "more than heads remain"

    def _unread(self) -> set[tuple[str, ThoughtPath]]:
        """Thoughts that are done and have not been handed out: their text is made while the next step runs."""
        return {(branch.problem, branch.path) for branch in self.engine._finished if branch.error is None}

    def _in_flight(self) -> list[Branch]:
        scheduler = self.engine._scheduler
        return [*scheduler._waiting, *(branch for branch in scheduler._running if not branch.done)]

    def _submit(self, problem: str, parent: ThoughtPath, prompt: Prompt, k: int, sampling: Sampling) -> None:
        first = self.num_children.get((problem, parent), 0)
        self.num_children[problem, parent] = first + k
        children = tuple((*parent, first + i) for i in range(k))
        tokens = [LETTERS.index(letter) for letter in prompt.shared + prompt.text]
        error = None
        if prompt.appended:
            known = self.thoughts.get((problem, parent))
            if known is None:
                error = "an appended prompt, but the parent's KV has been returned"
            elif not tokens and known.ended:
                error = "an empty appended prompt after a thought that ended its text"
            else:
                tokens = [*known.tokens, *tokens]
        elif not tokens:
            error = "a prompt has no tokens"
        if error is None and len(tokens) >= MAX_POSITIONS:
            error = f"a prompt of {len(tokens)} tokens; the model holds {MAX_POSITIONS}"
        for path in children:
            self.asked[problem, path] = Asked(tokens, prompt, sampling, error)
        self.engine.submit(Expansion(problem, parent, prompt, children, sampling))
        self.check_all()

    def _step(self) -> None:
        forest = self.engine.forest
        done, figures = self.engine.step()
        type(self).tally.steps += 1
        assert done or figures is not None, "busy, but a step did nothing"
        if figures is not None:
            assert figures.num_branches <= self.max_branches
            assert (figures.kv_tokens_read_tree, figures.kv_tokens_read_sequence) == self.engine.reads
            assert figures.kv_tokens_peak <= figures.kv_tokens_capacity
            if figures.launch:
                type(self).tally.count(figures.launch)
            if figures.tokens_rebuilt:
                type(self).tally.count("rebuilt")
        for child in done:
            self._compare(child)
        if self.engine._graphs is not None:
            type(self).tally.plans += self.engine._graphs.num_plans - self.num_plans
            self.num_plans = self.engine._graphs.num_plans
        assert figures is None or figures.kv_tokens_used >= forest.num_tokens
        self.check_all()

    def _compare(self, child: Decoded) -> None:
        key = child.problem, child.path
        asked = self.asked.pop(key)
        if asked.error is not None:
            assert child.error == asked.error
            self.tally.count("refused")
            return
        alone = decode_alone(asked.prompt_tokens, asked.prompt, asked.sampling, branch_key(3, *key))
        if child.error is None:
            assert child.text == alone.text
            assert alone.error is None
            assert child.cost.tokens_decoded == alone.num_decoded
            self.thoughts[key] = alone
            self.tally.count("done")
        elif "NaN" in child.error:
            assert (child.error, child.text) == (alone.error, alone.text)
            self.tally.count("NaN")
        elif "do not fit" in child.error:
            self.tally.count("too large")
        else:
            assert child.error == "time is up"
            assert key in self.stopped
            self.tally.count("stopped")


def run_machine(examples: int, steps: int, from_graphs: bool = False) -> Tally:
    """Run the machine; what it counted."""

    class Counted(EngineMachine):
        tally = Tally()

    Counted.from_graphs = from_graphs

    run_state_machine_as_test(
        Counted,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            derandomize="HYPOTHESIS_SEED" not in os.environ,
            suppress_health_check=list(HealthCheck),
        ),
    )
    return Counted.tally


def test_engine_scheduler_forest_and_pool_hold_under_random_use() -> None:
    tally = run_machine(examples=100, steps=50)
    assert set(tally.kinds) >= {"done", "rebuilt", "refused", "too large", "stopped", "NaN"}


def test_steps_from_graphs_hold_under_random_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_steps, "GraphStep", HashTree)
    tally = run_machine(examples=100, steps=50, from_graphs=True)
    assert set(tally.kinds) >= {"done", "rebuilt", "refused", "too large", "stopped", "NaN", "graph", "prefill"}
    assert tally.kinds["graph"] > 1_000
    assert tally.plans < tally.kinds["graph"] / 2, "plans are made where the last one could go on"


@pytest.mark.slow
def test_engine_scheduler_forest_and_pool_hold_for_100_000_steps() -> None:
    """Steps are rules of the machine that Hypothesis carried out, counted; engine steps come on top of them."""
    tally = run_machine(examples=2_600, steps=50)
    print(f"{tally.rules:,} rules, {tally.steps:,} engine steps, {tally.kinds}")  # noqa: T201
    assert tally.rules >= 100_000
    assert tally.steps >= 100_000
