"""The engine: takes requests, and computes all their branches and texts together, step by step, over one forest."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from time import perf_counter

from treereason.core import Cost, Decoded, Expansion, Request, ThoughtPath, Writing
from treereason.core.spans import EVERYTHING, SpanPolicy
from treereason.engine.attention.eager_step import AttentionKind
from treereason.engine.attention.span_reader import SpanReader
from treereason.engine.kv.cache import KVCache
from treereason.engine.kv.capacity import default_kv_tokens
from treereason.engine.kv.forest import Forest
from treereason.engine.kv.pages import PagePool
from treereason.engine.model.language_model import LanguageModel
from treereason.engine.prompts import Prompts
from treereason.engine.schedule.branch import Branch
from treereason.engine.schedule.pending_prompt import PendingPrompt
from treereason.engine.schedule.scheduler import Scheduler
from treereason.engine.schedule.step_batch import StepBatch
from treereason.engine.speculation.drafter import Drafter
from treereason.engine.speculation.row_budget import RowBudget
from treereason.engine.speculation.speculation import Speculation
from treereason.engine.steps.cuda_capture import Capture, cuda_capture
from treereason.engine.steps.eager_steps import EagerSteps
from treereason.engine.steps.graph_steps import GraphSteps
from treereason.engine.steps.step_kind import Drawn, StepKind
from treereason.engine.thoughts import Thoughts
from treereason.events import StepDone
from treereason.profile import Profile

PAGE_SIZE = 16


class Engine:
    """One token forest, one model, one step for all branches of all problems.

    `submit` requests, then `step` as long as it is `busy`; each child comes back once. A thought that came back can be
    continued and resumed until `end_problem`, even when it is dropped.

    seed: with it, problem, path, position and logits alone decide what is drawn. max_branches: that decode in a step,
    at most. prefill_tokens: tokens of prompts and given texts in a step, at most.
    kv_tokens: size of the KV pool, never exceeded; None is a quarter of the device's free memory, at most 131,072.
    When it is full, nodes are evicted (kv/eviction.py) and computed again when they are needed. Only a branch or prompt
    that would not fit alone fails, with its numbers.
    deterministic: a branch's logits have the same bits whatever else is computed in the step. Every step then
    computes max_branches + prefill_tokens rows, and every branch reads its own path.
    token_statistics: what comes back also tells what the distributions of its tokens looked like
    (core.TokenStatistics); changes nothing else. On a GPU all steps are then eager.
    spans: what tokens see of their paths, told by the tokens themselves (core/spans.py); None: everything.
    attention: the model's own way by default; "sequence" lets every branch read its own path, for comparison.
    drafter: proposes tokens, which are computed beside the branches' own (speculation/); changes no answer.
    row_budget: into which rows proposals may go; into all that are left without one.
    graphs: decode steps may be replayed from graphs. capture: how they become graphs; CUDA's own way by default on a
    GPU, none on a CPU. With a GPU, text is made while the next step runs, so a finished child comes back one step
    later, or with the last.
    """

    def __init__(
        self,
        model: LanguageModel,
        *,
        seed: int = 0,
        max_branches: int = 256,
        prefill_tokens: int = 2048,
        kv_tokens: int | None = None,
        deterministic: bool = False,
        token_statistics: bool = False,
        spans: SpanPolicy | None = None,
        attention: AttentionKind | None = None,
        drafter: Drafter | None = None,
        row_budget: RowBudget | None = None,
        graphs: bool = True,
        capture: Capture | None = None,
        profile: Profile | None = None,
    ) -> None:
        if kv_tokens is None:
            kv_tokens = default_kv_tokens(model.device, model.kv_bytes_per_token)
        num_pages = max(1, kv_tokens // PAGE_SIZE)
        self.model = model
        self.threads = self.drafts = ""  # remarks for the report
        self.forest = Forest(PagePool(num_pages), PAGE_SIZE)
        self._cache = KVCache(num_pages, PAGE_SIZE)
        self._profile = profile or Profile()
        self._scheduler = Scheduler(max_branches, prefill_tokens)
        if capture is None and model.device.type == "cuda":
            capture = cuda_capture(model.device)
        kind: AttentionKind = "invariant" if deterministic else attention or model.attention
        self._reader = reader = None if spans is None else SpanReader(spans)
        self._step_kinds: list[StepKind] = []  # the quickest first; the last one takes every step
        self.speculation: Speculation | None = None
        max_rows = max_branches
        if drafter is not None:
            if spans is not None:
                raise ValueError("spans with a drafter: what is proposed would be read as written; give one of them")
            max_rows += prefill_tokens
            self.speculation = Speculation(self.forest, self._cache, drafter, max_rows=max_rows, budget=row_budget)
        if capture is not None and graphs and kind == "triton" and not token_statistics:
            self._step_kinds.append(
                GraphSteps(
                    model,
                    self.forest,
                    self._cache,
                    max_rows=max_rows,
                    capture=capture,
                    goes_ahead=drafter is None,
                    reader=reader,
                    profile=self._profile,
                )
            )
        num_rows = max_branches + prefill_tokens if deterministic else 0
        self._step_kinds.append(
            EagerSteps(
                model,
                self.forest,
                self._cache,
                attention=kind,
                num_rows=num_rows,
                token_statistics=token_statistics,
                reader=reader,
                profile=self._profile,
            )
        )
        self._text_is_late = capture is not None
        self._why_no_graphs = ""
        if capture is not None:
            reasons = {
                "engine.graphs=false": not graphs,
                "engine.deterministic": deterministic,
                "engine.token_statistics": token_statistics,
            }
            self._why_no_graphs = next((name for name, on in reasons.items() if on), f"attention={attention}")
        self._thoughts = Thoughts(self.forest)
        self._prompts = Prompts(model, self.forest, self._thoughts, seed)
        self._answers: list[Decoded] = []
        self._to_repeat: list[PendingPrompt] = []
        self._finished: list[Branch] = []
        self._num_steps = 0

    @property
    def busy(self) -> bool:
        """Whether some child has not come back yet."""
        return self._scheduler.busy or bool(self._answers or self._finished or self._to_repeat)

    @property
    def style(self) -> str:
        """Style of the model's prompts (`Style` in core/prompt.py), as "chat"."""
        return self.model.style

    def submit(self, request: Request, known: Mapping[ThoughtPath, Decoded] | None = None) -> None:
        """Queue a request; all its children come back from `step`. Never raises: what cannot be done is their error.

        known: recorded answers of children. They come back as they are, and the forest becomes what it was when they
        were decoded, but for KV, which is computed when something needs it (tokens_rebuilt).

        Expansion: a thought that the model had ended cannot be continued by an empty prompt.
        Writing: an empty appended prompt puts the texts directly behind the parent. `logprob` is the sum over the
        text's own tokens at temperature 1, in float32. One that the model cannot hold fails alone.
        Resumption: what did not end at its limit, or has no position left, comes back as it is, at no cost.
        """
        known = known or {}
        if isinstance(request, Writing) and len(known) < len(request.children):
            known = {}  # its texts are computed together
        try:
            prompt = self._prompt(request, known)
        except ValueError as error:
            self._answers += known.values()
            self._fail(request, [path for path in request.children if path not in known], str(error))
            return
        if prompt is None:
            return
        prompt.known = known
        if known:  # when all requests of a step are in place, as they were
            self._to_repeat.append(prompt)
        else:
            self._scheduler.add_prompt(prompt)

    def _prompt(self, request: Request, known: Mapping[ThoughtPath, Decoded]) -> PendingPrompt | None:
        """What is to be computed for a request; None for nothing. Raises ValueError."""
        if isinstance(request, Expansion):
            return self._prompts.expansion(request)
        if isinstance(request, Writing):
            prompt, refused = self._prompts.writing(request)
            for path, error in refused.items():
                self._answers.append(known.get(path) or self._failed(request, path, error))
            if prompt.texts:
                return prompt
            self._release(prompt)
        elif (resumed := self._prompts.resumption(request)) is not None:
            return resumed
        else:
            thought = self._thoughts.get(request.problem, request.path)
            same = replace(thought.branch.decoded(self.model), cost=Cost(), token_ids=())
            self._answers.append(known.get(request.path, same))
        return None

    def step(self) -> tuple[list[Decoded], StepDone | None]:
        """Compute one step. Returns the children that are done, and the step's figures (None when nothing ran)."""
        started = perf_counter()
        with self._profile.measure("plan"):
            self._repeat()
            ahead = next((kind.ahead for kind in self._step_kinds if kind.ahead), ())
            batch = self._scheduler.pick(self.forest, self._num_steps, ahead)
            self._refuse(batch)
            if self.speculation is not None:
                self.speculation.add(batch)
        if not batch.tokens:
            return self._decoded() + self._take_answers(), None
        self._num_steps += 1
        kind, launch = self._start(batch)
        read_sequence = sum(node.start + node.num_cached for node in batch.ends)
        done = self._decoded()
        with self._profile.measure("sampling"):
            new_branches = [branch for prompt in batch.prompts for branch in self._prompts.start_branches(prompt)]
            branches = batch.branches + new_branches
        drawn = kind.finish(branches)
        with self._profile.measure("sampling"):
            num_drafted = self._accept(batch, branches, drawn)
            for branch in new_branches:
                if not branch.done:
                    self._scheduler.add_branch(branch)
            for branch in batch.branches:
                branch.cost.kv_token_steps += branch.node.num_cached
            written = [branch for prompt in batch.prompts for branch in self._prompts.finish_texts(prompt)]
            for branch in [*branches, *written]:
                if branch.done:
                    self._finish(branch)
            if not self._text_is_late:
                done += self._decoded()
        figures = StepDone(
            step=self._num_steps,
            num_branches=len(batch.branches),
            num_waiting=self._scheduler.num_waiting,
            tokens_prefilled=batch.num_prefilled,
            tokens_rebuilt=batch.num_rebuilt,
            tokens_decoded=len(branches) + num_drafted,
            kv_tokens_used=self.forest.num_tokens,
            kv_tokens_peak=self.forest.num_tokens_peak,
            kv_tokens_capacity=self.forest.pool.num_pages * PAGE_SIZE,
            kv_tokens_read_tree=kind.kv_tokens_read,
            kv_tokens_read_sequence=read_sequence or kind.kv_tokens_read,
            kv_tokens_read_spans=kind.kv_tokens_seen if self._reader else 0,
            seconds=(seconds := perf_counter() - started),
            launch=launch,
            graph_bytes=sum(kind.num_bytes for kind in self._step_kinds),
        )
        if self.speculation is not None:
            self.speculation.measure(batch, num_drafted, seconds)
        return done + self._take_answers(), figures

    def _start(self, batch: StepBatch) -> tuple[StepKind, str]:
        """Begin the step in the quickest way that takes it. Returns that way, and its `StepDone.launch`."""
        reason = self._why_no_graphs
        for kind in self._step_kinds:
            refusal = kind.start(batch)
            if refusal is None:
                return kind, kind.launch or reason
            reason = refusal.reason
        raise AssertionError("eager steps take every batch")

    def stop(self, problem: str, error: str) -> None:
        """End all that the problem is decoding; it comes back from `step` with this error."""
        self._repeat()
        for item in self._scheduler.drop(problem):
            self._give_up(item, error)

    def drop(self, problem: str, path: ThoughtPath) -> None:
        """Return a thought's KV now; what others need of it stays. Never an error, for no thought.

        Its token ids stay known until `end_problem`. A request that needs the thought again computes it again, at that
        request's cost: as tokens_prefilled, but for what is still there, which is tokens_reused.
        """
        self._thoughts.drop(problem, path)

    def kv_tokens(self, problem: str, paths: Sequence[ThoughtPath]) -> int:
        """KV tokens that these thoughts of a problem hold together, in whole pages; what they share counts once."""
        return self._thoughts.kv_tokens(problem, paths)

    def end_problem(self, problem: str) -> int:
        """Stop and forget all that the problem still has; returns the most KV tokens that it ever had."""
        self._repeat()
        for item in self._scheduler.drop(problem):
            self._release(item)
        self._answers = [answer for answer in self._answers if answer.problem != problem]
        self._finished = [branch for branch in self._finished if branch.problem != problem]
        self._thoughts.end_problem(problem)
        if self.speculation is not None:
            self.speculation.forget(problem)
        peak = self.forest.peak_of(problem)
        self.forest.forget(problem)
        self.forest.check()
        return peak

    def _repeat(self) -> None:
        """Bring back what is known of children that were decoded before."""
        prompts, self._to_repeat = self._to_repeat, []
        for prompt in prompts:
            for branch in self._prompts.repeat(prompt):
                self._settle(branch)
                known = prompt.known[branch.path]
                self._answers.append(replace(known, prompt=branch.above.seen))
            if prompt.children:
                self._scheduler.add_prompt(prompt)

    def _accept(self, batch: StepBatch, branches: list[Branch], drawn: Drawn) -> int:
        """Hand each branch its next token, and those of its draft that are right; returns how many of these."""
        num_right = row = 0
        for branch in branches:
            laid = batch.drafts.get(branch)
            if laid is None or self.speculation is None:
                self._take(branch, drawn, row)
                row += 1
            else:
                num_right += self.speculation.verify(laid, row, partial(self._take, branch, drawn))
                row += 1 + len(laid.places)
        return num_right

    def _take(self, branch: Branch, drawn: Drawn, row: int) -> int:
        """Hand the branch what a row has drawn, and return it."""
        token, logprob = drawn.tokens[row], drawn.logprobs[row]
        if drawn.statistics is not None:
            branch.measure([drawn.statistics[row]])
        if math.isnan(logprob):
            branch.fail_at(branch.node.end)
        else:
            branch.accept(token, logprob, self.model)
        return token

    def _finish(self, branch: Branch) -> None:
        """Settle all of a branch that is done but its text."""
        self.forest.trim(branch.node)
        self._settle(branch)
        self._finished.append(branch)

    def _settle(self, branch: Branch) -> None:
        if branch.error is None:
            self._thoughts.add(branch)
        else:
            self.forest.release(branch.node)

    def _decoded(self) -> list[Decoded]:
        """The children that have finished since it was last asked, with their texts."""
        finished, self._finished = self._finished, []
        return [replace(branch.decoded(self.model), seen=self._seen(branch)) for branch in finished]

    def _seen(self, branch: Branch) -> tuple[str, ...]:
        """As `Decoded.seen`."""
        view = self._reader.at_end(branch.node) if self._reader else EVERYTHING
        if view == EVERYTHING:
            return ()
        tokens = branch.node.token_ids()
        pieces = (tokens[first:last] for first, last in (*view.earlier, (view.own, len(tokens))))
        return tuple(text for piece in pieces if (text := self.model.decode(piece).strip()))

    def _refuse(self, batch: StepBatch) -> None:
        for item in batch.too_large:
            num_pages, num_tokens = max(
                (sum(-(-len(part.tokens) // PAGE_SIZE) for part in node.path()), node.end)
                for node in ([item.node] if isinstance(item, Branch) else item.nodes)
            )
            error = (
                f"{num_tokens} tokens on {num_pages} pages do not fit into a KV pool of "
                f"{self.forest.pool.num_pages} pages of {PAGE_SIZE}; raise engine.kv_tokens"
            )
            self._give_up(item, error)

    def _give_up(self, item: Branch | PendingPrompt, error: str) -> None:
        branch = item if isinstance(item, Branch) else item.resumed
        if branch is not None:
            branch.fail(error)
            self._finish(branch)
        else:
            self._release(item)
            assert isinstance(item, PendingPrompt)
            paths = [text.branch.path for text in item.texts] or item.children
            self._fail(item.request, paths, error)

    def _release(self, item: Branch | PendingPrompt) -> None:
        for node in [item.node] if isinstance(item, Branch) else item.nodes:
            self.forest.release(node)

    def _fail(self, request: Request, paths: Sequence[ThoughtPath], error: str) -> None:
        self._answers += [self._failed(request, path, error) for path in paths]

    def _failed(self, request: Request, path: ThoughtPath, error: str) -> Decoded:
        return Decoded(request.problem, path, "", 0.0, Cost(), error)

    def _take_answers(self) -> list[Decoded]:
        answers, self._answers = self._answers, []
        return answers
