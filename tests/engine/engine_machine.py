"""Engine, scheduler, forest and page pool together under random use, against a naive model of one thought at a time.

The network is replaced by one of hashing (hash_model.py), whose answers tell whether every row has read its own tokens.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
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

from tests.engine.hash_model import (
    LETTERS,
    MAX_POSITIONS,
    Answer,
    GraphModel,
    HashModel,
    RandomPolicy,
    decode_alone,
    measure_alone,
    text_of,
)
from treereason.core import Decoded, Expansion, Finish, Prompt, Resumption, Sampling, ThoughtPath, Writing
from treereason.core.spans import LinePolicy, SpanPolicy
from treereason.engine.engine import PAGE_SIZE, Engine
from treereason.engine.kv.forest import RUN
from treereason.engine.model.language_model import LanguageModel
from treereason.engine.schedule.branch import Branch
from treereason.engine.schedule.given_text import GivenText
from treereason.engine.schedule.pending_prompt import PendingPrompt
from treereason.engine.schedule.step_batch import StepBatch
from treereason.engine.speculation.drafter import Drafter
from treereason.engine.steps.graph_steps import GraphSteps
from treereason.engine.steps.sampler import branch_key

Key = tuple[str, ThoughtPath]

SHARED = ("", "abcdefgh" * 3, "abcdefgh" * 2 + "hg")
BASES = ("abcdefghabcdefgaaabbbcccdddeeefffggg" * 2, "abcdefghabcdefgahhhggg" * 3, "c" * 60)
TEXTS = ("", "a", "b", "abc", "abcdabcd", "abcdabcdefgh" * 3, "abcdabcdefgh" * 2 + "a", "c" * 30, "a" * 85)
PROBLEMS = ("p", "q", "r")
POLICIES = st.one_of(
    st.builds(RandomPolicy, st.integers(0, 99)),
    st.builds(
        LinePolicy,
        labels=st.just(frozenset({0, 1, 2})),
        line_end=st.just(frozenset({3})),
        names_end=st.sampled_from([frozenset({4}), frozenset[int]()]),
        sink=st.integers(0, 3),
        wide=st.booleans(),
    ),
)


class WatchedEngine(Engine):
    """Checks, where a branch or prompt is given up for its size, that its path indeed needs more than the pool.

    reads: KV tokens that the last step had to read, each node once, and every branch its own path.
    """

    reads = 0, 0
    texts_seen: tuple[GivenText, ...] = ()

    def _refuse(self, batch: StepBatch) -> None:
        on_paths = {part for node in batch.tokens for part in node.path()}
        tree = sum(part.num_cached for part in on_paths)
        texts = [text for prompt in (*batch.prompts, *self._scheduler._prompts) for text in prompt.texts if text.ready]
        ends = [branch.node for branch in batch.branches]
        ends += [prompt.node for prompt in batch.prompts if not prompt.texts]
        ends += [text.node for text in texts if text not in self.texts_seen]
        self.texts_seen = tuple(texts)
        alone = sum(part.num_cached for node in ends for part in node.path())
        self.reads = tree, alone or tree
        super()._refuse(batch)

    def _give_up(self, item: Branch | PendingPrompt, error: str) -> None:
        if "do not fit" in error:
            ends = [item.node] if isinstance(item, Branch) else item.nodes
            pages = max(sum(-(-len(node.tokens) // PAGE_SIZE) for node in end.path()) for end in ends)
            assert pages > self.forest.pool.num_pages, f"{error}, but it needs {pages} pages"
        super()._give_up(item, error)


@dataclass(frozen=True)
class Asked:
    """A child in flight: what it is by definition, and what it would be resumed with.

    refused: its submission had to fail. num_before: tokens that it had decoded before it was resumed.
    """

    answer: Answer
    prompt: Prompt
    sampling: Sampling
    refused: bool = False
    num_before: int = 0


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
    has_spans = False
    drafter: Callable[[EngineMachine], Drafter | None] = staticmethod(lambda _: None)

    @initialize(
        num_pages=st.sampled_from([1, 2, 3, 4, 5, 6, 8, 12, 40]),
        max_branches=st.sampled_from([1, 2, 3, 64]),
        prefill_tokens=st.sampled_from([1, 5, 16, 200]),
        policy=POLICIES,
    )
    def start(self, num_pages: int, max_branches: int, prefill_tokens: int, policy: SpanPolicy) -> None:
        self.max_branches, self.prefill_tokens = max_branches, prefill_tokens
        self.policy = policy if self.has_spans else None
        kind = GraphModel if self.from_graphs else HashModel
        model = kind(max_branches + prefill_tokens)
        self.engine = WatchedEngine(
            cast(LanguageModel, model),
            seed=3,
            max_branches=max_branches,
            prefill_tokens=prefill_tokens,
            kv_tokens=num_pages * PAGE_SIZE,
            spans=self.policy,
            capture=model.capture if isinstance(model, GraphModel) else None,
            drafter=self.drafter(self),
        )
        self.asked: dict[Key, Asked] = {}
        self.thoughts: dict[Key, Asked] = {}
        self.dropped: set[Key] = set()
        self.stopped: set[Key] = set()
        self.owned_peak: dict[str, int] = {}
        self.num_computed = 0
        self.num_children: dict[Key, int] = {}
        self.num_plans = self.num_right = 0

    @rule(
        problem=st.sampled_from(PROBLEMS),
        shared=st.sampled_from(SHARED),
        base=st.sampled_from(BASES),
        length=st.integers(0, 60),
        k=st.integers(1, 5),
        ending=st.sampled_from(["", "a", "bb", "h" * 20, "g" * 40]),
        options=st.tuples(
            st.integers(1, 40), st.sampled_from([(), ("a",), ("bc", "dd")]), st.booleans(),
            st.sampled_from([0.0, 0.5, 1.0, 3.0]), st.sampled_from([(), (0.6,), (1.0, 3), (0.8, 5, 0.1)]),
        ),
    )  # fmt: skip
    def submit_fresh(
        self, problem: str, shared: str, base: str, length: int, k: int, ending: str, options: tuple[Any, ...]
    ) -> None:
        max_tokens, stop, ignore_end, temperature, cuts = options
        prompt = Prompt(base[:length] + ending, shared=shared, max_tokens=max_tokens, stop=stop, ignore_end=ignore_end)
        self._submit(problem, (), prompt, k, Sampling(temperature, *cuts))

    @precondition(lambda self: self._in_flight())
    @rule(which=st.integers(0, 10_000), ending=st.sampled_from(["a", "hc"]), k=st.integers(1, 3))
    def submit_what_a_running_branch_has_written(self, which: int, ending: str, k: int) -> None:
        branches = self._in_flight()
        branch = branches[which % len(branches)]
        text = text_of([token for node in branch.node.path() for token in node.tokens])
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
    def submit_below_what_is_unknown(self, problem: str) -> None:
        self._submit(problem, (999,), Prompt("a", appended=True), 1, Sampling())

    @rule(
        problem=st.sampled_from(PROBLEMS),
        shared=st.sampled_from(SHARED),
        length=st.integers(0, 60),
        texts=st.lists(st.sampled_from(TEXTS), min_size=1, max_size=5),
    )
    def write_fresh(self, problem: str, shared: str, length: int, texts: list[str]) -> None:
        self._write(problem, (), Prompt(BASES[0][:length], shared=shared), texts)

    @precondition(lambda self: self.thoughts)
    @rule(
        which=st.integers(0, 10_000),
        text=st.sampled_from(["", "", "b", "hg" * 9]),
        texts=st.lists(st.sampled_from(TEXTS), min_size=1, max_size=5),
    )
    def write_below(self, which: int, text: str, texts: list[str]) -> None:
        problem, path = list(self.thoughts)[which % len(self.thoughts)]
        self._write(problem, path, Prompt(text, appended=True), texts)

    @precondition(lambda self: self.thoughts)
    @rule(which=st.integers(0, 10_000), num_tokens=st.integers(1, 9), ending=st.booleans())
    def resume(self, which: int, num_tokens: int, ending: bool) -> None:
        """At their limit thoughts go on; the others come back as they are. Mostly the former are picked."""
        at_limit = [key for key in self.thoughts if self.thoughts[key].answer.finish is Finish.LENGTH]
        keys = [key for key in (list(self.thoughts) if ending else at_limit) if key not in self.asked]
        if not keys:
            return
        key = keys[which % len(keys)]
        known = self.thoughts[key]
        prompt = replace(known.prompt, max_tokens=num_tokens)
        answer = known.answer
        if answer.finish is Finish.LENGTH and len(answer.tokens) < MAX_POSITIONS:
            above = list(answer.tokens[: len(answer.tokens) - answer.num_own])
            whole = replace(prompt, max_tokens=answer.num_own + num_tokens)
            answer = decode_alone(above, whole, known.sampling, branch_key(3, *key), self.policy)
            del self.thoughts[key]
            self.tally.count("resumed")
        self.asked[key] = replace(known, answer=answer, num_before=known.answer.num_own)
        self.engine.submit(Resumption(*key, prompt, known.sampling))
        self.check_all()

    @precondition(lambda self: self.engine.busy)
    @rule(count=st.sampled_from([1, 1, 2, 5, 20]))
    def steps(self, count: int) -> None:
        for _ in range(count):
            if self.engine.busy:
                self._step()

    @precondition(lambda self: self.thoughts)
    @rule(which=st.integers(0, 10_000), count=st.integers(1, 3))
    def drop(self, which: int, count: int) -> None:
        for i in range(count):
            key = list(self.thoughts)[(which + i) % len(self.thoughts)]
            self.engine.drop(*key)
            self.dropped.add(key)

    @rule(problem=st.sampled_from(PROBLEMS))
    def stop(self, problem: str) -> None:
        self.stopped |= {key for key in self.asked if key[0] == problem}
        self.engine.stop(problem, "time is up")

    @rule(problem=st.sampled_from(PROBLEMS))
    def end(self, problem: str) -> None:
        peak = self.engine.end_problem(problem)
        # What was evicted counts, so it may be more than the pool holds, but never more than was computed.
        assert self.owned_peak.pop(problem, 0) <= peak <= self.num_computed
        for of_thoughts in (self.asked, self.thoughts):
            for key in [key for key in of_thoughts if key[0] == problem]:
                del of_thoughts[key]
        assert not any(node.owner == problem for node in self.engine.forest.nodes())
        self.stopped = {key for key in self.stopped if key[0] != problem}
        self.dropped = {key for key in self.dropped if key[0] != problem}

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
        referenced = [branch.node for branch in self._in_flight()]
        referenced += [node for prompt in engine._scheduler._prompts for node in prompt.nodes]
        referenced += [thought.node for thought in engine._thoughts if thought.node is not None]
        referenced += engine._prompts.shared_prefixes.values()
        num_references = Counter(referenced)
        for node in forest.nodes():
            assert node.num_references == num_references[node], "references miscounted"
            assert not node.growing or not node.children, "something below a growing node"
            assert node.parent is not None
            assert node.parent.owner in (node.owner, RUN), "below another problem's node"
        for problem in PROBLEMS:
            owned = sum(node.num_computed for node in forest.nodes() if node.owner == problem)
            assert forest.peak_of(problem) >= owned
            self.owned_peak[problem] = max(owned, self.owned_peak.get(problem, 0))
        known = {(thought.branch.problem, thought.branch.path) for thought in engine._thoughts}
        assert known - self._unread() == self.thoughts.keys() - self._unread()

    def teardown(self) -> None:
        if not hasattr(self, "engine"):
            return
        if self.engine.busy:
            self.finish()
        for problem in PROBLEMS:
            self.end(problem)
        self.check_all()
        prefixes = self.engine._prompts.shared_prefixes
        for tokens, node in prefixes.items():
            assert [token for part in node.path() for token in part.tokens] == list(tokens)
        of_prefixes = {part for node in prefixes.values() for part in node.path()}
        assert set(self.engine.forest.nodes()) == of_prefixes, "more than shared prefixes remain"

    def _unread(self) -> set[Key]:
        """Thoughts that are done and have not been handed out: their text is made while the next step runs."""
        return {(branch.problem, branch.path) for branch in self.engine._finished if branch.error is None}

    def _in_flight(self) -> list[Branch]:
        scheduler = self.engine._scheduler
        return [*scheduler._waiting, *(branch for branch in scheduler._running if not branch.done)]

    def _children(self, problem: str, parent: ThoughtPath, count: int) -> tuple[ThoughtPath, ...]:
        """Paths that were not asked for."""
        first = self.num_children.get((problem, parent), 0)
        self.num_children[problem, parent] = first + count
        return tuple((*parent, first + i) for i in range(count))

    def _prompt_tokens(
        self, problem: str, parent: ThoughtPath, prompt: Prompt, *, measured: bool
    ) -> tuple[list[int], str | None]:
        """All tokens that the children come after; or why there are none."""
        tokens = [LETTERS.index(letter) for letter in prompt.shared + prompt.text]
        if prompt.appended:
            known = self.thoughts.get((problem, parent))
            if known is None:
                name = ".".join(map(str, parent))
                return [], f"thought {name} has no text to go on from: it failed, or is not decoded yet"
            if not tokens and known.answer.finish is Finish.END and not measured:
                return [], "an empty appended prompt after a thought that ended its text: give it some text"
            if (problem, parent) in self.dropped:
                self.tally.count("continued after a drop")
            tokens = [*known.answer.tokens, *tokens]
        elif not tokens:
            return [], "a prompt without tokens: give it some text"
        if len(tokens) >= MAX_POSITIONS:
            return (
                [],
                f"a prompt of {len(tokens)} tokens: the model takes {MAX_POSITIONS}, answer included, so give less",
            )
        return tokens, None

    def _submit(self, problem: str, parent: ThoughtPath, prompt: Prompt, k: int, sampling: Sampling) -> None:
        children = self._children(problem, parent, k)
        tokens, error = self._prompt_tokens(problem, parent, prompt, measured=False)
        for path in children:
            if error is None:
                answer = decode_alone(tokens, prompt, sampling, branch_key(3, problem, path), self.policy)
            else:
                answer = refusal(error)
            self.asked[problem, path] = Asked(answer, prompt, sampling, refused=error is not None)
        self.engine.submit(Expansion(problem, parent, prompt, children, sampling))
        self.check_all()

    def _write(self, problem: str, parent: ThoughtPath, prompt: Prompt, texts: list[str]) -> None:
        children = self._children(problem, parent, len(texts))
        tokens, error = self._prompt_tokens(problem, parent, prompt, measured=True)
        for path, text in zip(children, texts, strict=True):
            too_long = len(tokens) + len(text) > MAX_POSITIONS
            line = f"a text that ends at token {len(tokens) + len(text)}: the model takes {MAX_POSITIONS}, so give less"
            why = error or (line if too_long else None)
            answer = measure_alone(tokens, text, self.policy) if why is None else refusal(why)
            self.asked[problem, path] = Asked(answer, prompt, Sampling(), refused=why is not None, num_before=len(text))
        self.engine.submit(Writing(problem, parent, prompt, children, tuple(texts)))
        self.check_all()

    def _step(self) -> None:
        forest = self.engine.forest
        num_ahead = len(self.engine._step_kinds[0].ahead)
        done, figures = self.engine.step()
        if num_ahead and figures is not None:
            all_go_on = figures.launch == "graph" and figures.num_branches == num_ahead
            self.tally.count("ahead" if all_go_on else "ahead, but some have ended")
        type(self).tally.steps += 1
        assert done or figures is not None, "busy, but a step did nothing"
        if figures is not None:
            assert figures.num_branches <= self.max_branches
            self.num_computed += figures.tokens_prefilled + figures.tokens_decoded
            if self.engine.speculation is None:
                assert (figures.kv_tokens_read_tree, figures.kv_tokens_read_sequence) == self.engine.reads
            assert bool(figures.kv_tokens_read_spans) == self.has_spans
            assert figures.kv_tokens_peak <= figures.kv_tokens_capacity
            if figures.launch:
                type(self).tally.count(figures.launch)
            if figures.tokens_rebuilt:
                type(self).tally.count("rebuilt")
        for child in done:
            self._compare(child)
        if self.engine.speculation is not None:
            num_right = self.engine.speculation.figures.tokens
            type(self).tally.kinds["right"] = type(self).tally.kinds.get("right", 0) + num_right - self.num_right
            self.num_right = num_right
        graphs = self.engine._step_kinds[0]
        if isinstance(graphs, GraphSteps):
            type(self).tally.plans += graphs.num_plans - self.num_plans
            self.num_plans = graphs.num_plans
        assert figures is None or figures.kv_tokens_used >= forest.num_tokens
        self.check_all()

    def _compare(self, child: Decoded) -> None:
        key = child.problem, child.path
        asked = self.asked.pop(key)
        want = asked.answer
        if asked.refused:
            assert child.error == want.error
            self.tally.count("refused")
        elif child.error is None:
            assert (child.text, child.finish, child.stop, want.error) == (want.text, want.finish, want.stop, None)
            assert child.logprob == pytest.approx(want.logprob, abs=1e-4)
            assert child.cost.tokens_decoded == want.num_own - asked.num_before
            self.thoughts[key] = asked
            self.tally.count("written" if child.finish is Finish.GIVEN else "done")
        elif "NaN" in child.error:
            assert (child.error, child.text) == (want.error, want.text)
            self.tally.count("NaN")
        elif "do not fit" in child.error:
            self.tally.count("too large")
        else:
            assert child.error == "time is up"
            assert key in self.stopped
            self.tally.count("stopped")


def refusal(error: str) -> Answer:
    return Answer("", (), 0, 0.0, None, error=error)


def run_machine(
    examples: int,
    steps: int,
    from_graphs: bool = False,
    has_spans: bool = False,
    drafter: Callable[[EngineMachine], Drafter | None] = lambda _: None,
) -> Tally:
    """Run the machine; what it counted."""

    class Counted(EngineMachine):
        tally = Tally()

    Counted.from_graphs, Counted.has_spans = from_graphs, has_spans
    Counted.drafter = staticmethod(drafter)

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
    failed = [kind for kind in Counted.tally.kinds if kind.startswith("cannot be captured")]
    assert not failed, failed
    return Counted.tally
