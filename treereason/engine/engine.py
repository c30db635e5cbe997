"""The engine: takes expansions, decodes all their branches together, one step at a time, over one token forest."""

from __future__ import annotations

import math
from time import perf_counter

import torch

from treereason.core import Cost, Decoded, Expansion
from treereason.engine.attention import AttentionKind, eager_step
from treereason.engine.branch import Branch
from treereason.engine.graphs.cuda_capture import Capture, cuda_capture
from treereason.engine.graphs.step_graphs import GRAPH, StepGraphs
from treereason.engine.kv.cache import KVCache
from treereason.engine.kv.forest import RUN, Forest, Node
from treereason.engine.kv.pages import PagePool
from treereason.engine.model.language_model import LanguageModel
from treereason.engine.sampler import branch_key, sample
from treereason.engine.scheduler import PendingPrompt, Scheduler, StepBatch
from treereason.events import StepDone
from treereason.profile import Profile

PAGE_SIZE = 16


class Engine:
    """One token forest, one model, one step for all branches of all problems.

    A decoded thought can be continued until `release` or `end_problem`. kv_tokens: size of the KV pool, never
    exceeded; what is cold makes way and is computed again when it is needed (memory.py). Only a branch or prompt that
    would not fit alone fails, with its numbers.

    deterministic: a branch's logits have the same bits whatever else is computed in the step. Every step then
    computes max_branches + prefill_tokens rows, and every branch reads its own path.
    attention: the model's own way by default; "sequence" lets every branch read its own path, for comparison.
    capture: how decode steps become graphs; CUDA's own way by default on a GPU, none on a CPU. With a GPU, text is made
    while the next step runs, so a finished child comes back one step later, or with the last.
    """

    def __init__(
        self,
        model: LanguageModel,
        *,
        seed: int,
        max_branches: int,
        prefill_tokens: int,
        kv_tokens: int,
        deterministic: bool = False,
        attention: AttentionKind | None = None,
        capture: Capture | None = None,
        profile: Profile | None = None,
    ) -> None:
        num_pages = max(1, kv_tokens // PAGE_SIZE)
        self.model = model
        self.forest = Forest(PagePool(num_pages), PAGE_SIZE)
        self._cache = KVCache(num_pages, PAGE_SIZE)
        self._attention: AttentionKind = "invariant" if deterministic else attention or model.attention
        self._num_rows = max_branches + prefill_tokens if deterministic else 0
        self._profile = profile or Profile()
        self._scheduler = Scheduler(max_branches, prefill_tokens)
        if capture is None and model.device.type == "cuda":
            capture = cuda_capture(model.device)
        self._graphs: StepGraphs | None = None
        if capture is not None and self._attention == "triton":
            self._graphs = StepGraphs(model, self._cache, max_branches, capture)
        self._behind = capture is not None
        self._eager = "" if capture is None else "engine.deterministic" if deterministic else f"attention={attention}"
        self._seed = seed
        self._shared_prefixes: dict[tuple[int, ...], Node] = {}
        self._thoughts: dict[tuple[str, tuple[int, ...]], tuple[Node, list[int]]] = {}
        self._failed: list[Decoded] = []
        self._finished: list[Branch] = []
        self._num_steps = 0

    @property
    def style(self) -> str:
        return self.model.style

    @property
    def busy(self) -> bool:
        return self._scheduler.busy or bool(self._failed or self._finished)

    def submit(self, expansion: Expansion) -> None:
        """Queue the expansion; its children come back from `step`, failed ones with an error."""
        try:
            node = self._attach(expansion)
        except ValueError as error:
            self._fail(expansion, str(error))
        else:
            self._scheduler.add_prompt(PendingPrompt(expansion, node))

    def step(self) -> tuple[list[Decoded], StepDone | None]:
        """Compute one step. Returns the children that are done, and the step's figures (None when nothing ran)."""
        started = perf_counter()
        with self._profile.measure("plan"):
            work = self._scheduler.pick(self.forest, self._num_steps)
            self._refuse(work)
            if not work.tokens:
                return self._decoded() + self._take_failed(), None
            eager = self._graphs.launch(self.forest, work, self._num_steps) if self._graphs else self._eager
        targets = [branch.node for branch in work.branches] + [job.node for job in work.prompts]
        read_sequence = sum(node.start + node.num_cached for node in targets)
        if self._graphs and not eager:
            branches, read_tree = work.branches, self._graphs.kv_tokens_read
            done = self._decoded()
            with self._profile.measure("model"):
                drawn = self._graphs.read(branches)
            with self._profile.measure("sampling"):
                self._accept(branches, *drawn)
        else:
            with self._profile.measure("plan"):
                step = eager_step(
                    self.forest,
                    work.tokens,
                    self._cache,
                    attention=self._attention,
                    num_rows=self._num_rows,
                    device=self.model.device,
                    profile=self._profile,
                )
                read_tree = step.plan.kv_tokens_read_tree
            with self._profile.measure("model"):
                logits = self.model.forward(step, [step.last_row[node] for node in targets])
            done = self._decoded()
            with self._profile.measure("sampling"):
                branches = list(work.branches)
                rows = list(range(len(branches)))
                for row, job in enumerate(work.prompts, start=len(branches)):
                    children = self._start_children(job)
                    branches += children
                    rows += [row] * len(children)
                self._sample(logits[rows], branches)
        with self._profile.measure("sampling"):
            for branch in branches[len(work.branches) :]:
                if not branch.done:
                    self._scheduler.add_branch(branch)
            for branch in work.branches:
                branch.cost.kv_token_steps += branch.node.num_cached
            for branch in branches:
                if branch.done:
                    self._finish(branch)
            if not self._behind:
                done += self._decoded()
        self._num_steps += 1
        figures = StepDone(
            step=self._num_steps,
            num_branches=len(work.branches),
            num_waiting=self._scheduler.num_waiting,
            tokens_prefilled=work.num_prefilled,
            tokens_rebuilt=work.num_rebuilt,
            tokens_decoded=len(branches),
            kv_tokens_used=self.forest.num_tokens,
            kv_tokens_peak=self.forest.num_tokens_peak,
            kv_tokens_capacity=self.forest.pool.num_pages * PAGE_SIZE,
            kv_tokens_read_tree=read_tree,
            kv_tokens_read_sequence=read_sequence or read_tree,
            seconds=perf_counter() - started,
            launch=eager or (GRAPH if self._graphs else ""),
        )
        return done + self._take_failed(), figures

    def stop(self, problem: str, error: str) -> None:
        """End all that the problem is decoding; it comes back from `step` with this error."""
        for item in self._scheduler.drop(problem):
            self._give_up(item, error)

    def drop(self, problem: str, path: tuple[int, ...]) -> None:
        """Return a thought's KV now; what others stand on stays. Unknown thoughts (the root, failed ones) are fine."""
        node, _ = self._thoughts.pop((problem, path), (None, []))
        if node is not None:
            self.forest.release(node)

    def end_problem(self, problem: str) -> int:
        """Stop and release all that the problem still has; returns the most KV tokens it ever held."""
        for item in self._scheduler.drop(problem):
            self.forest.release(item.node)
        self._failed = [failed for failed in self._failed if failed.problem != problem]
        self._finished = [branch for branch in self._finished if branch.problem != problem]
        for owner, path in [key for key in self._thoughts if key[0] == problem]:
            self.drop(owner, path)
        peak = self.forest.peak_of(problem)
        self.forest.forget(problem)
        self.forest.check()
        return peak

    def _attach(self, expansion: Expansion) -> Node:
        """The held node of the expansion's prompt. Raises ValueError when there is nothing, or too much, to compute."""
        prompt, problem = expansion.prompt, expansion.problem
        below: Node | None = None
        if prompt.appended and expansion.parent:
            if (problem, expansion.parent) not in self._thoughts:
                raise ValueError("an appended prompt, but the parent's KV has been returned")
            below, tail = self._thoughts[problem, expansion.parent]
            tokens = tail + self.model.encode_appended(prompt)
            if not tokens:
                raise ValueError("an empty appended prompt after a thought that ended its text")
        else:
            tokens, num_shared = self.model.encode(prompt)
            prefix = tuple(tokens[:num_shared])
            if prefix and prefix not in self._shared_prefixes:
                self._shared_prefixes[prefix] = self.forest.attach(prefix, RUN)
        size = self.model.vocabulary_size
        if (strange := next((token for token in tokens if not 0 <= token < size), None)) is not None:
            raise ValueError(f"a prompt with token id {strange}; the model's vocabulary is 0 to {size - 1}")
        length = len(tokens) + (below.end if below else 0)
        if length >= self.model.max_positions:
            raise ValueError(f"a prompt of {length} tokens; the model holds {self.model.max_positions}")
        return self.forest.attach(tokens, problem, below)

    def _start_children(self, job: PendingPrompt) -> list[Branch]:
        expansion, node = job.expansion, job.node
        children = []
        for path in expansion.children:
            # The prompt is computed once for all children: the first one bears its cost.
            first = path == expansion.children[0]
            cost = Cost(tokens_prefilled=job.num_prefilled, tokens_reused=node.end - job.num_prefilled)
            children.append(
                Branch(
                    problem=expansion.problem,
                    path=path,
                    node=self.forest.fork(node, expansion.problem),
                    prompt=expansion.prompt,
                    sampling=expansion.sampling,
                    key=branch_key(self._seed, expansion.problem, path),
                    max_tokens=min(expansion.prompt.max_tokens, self.model.max_positions - node.end),
                    cost=cost if first else Cost(tokens_reused=node.end),
                )
            )
        self.forest.release(node)
        return children

    def _sample(self, logits: torch.Tensor, branches: list[Branch]) -> None:
        """Draw each branch's next token from its row of logits [len(branches), V] and hand it over."""
        if not branches:
            return
        device = logits.device
        tokens, logprobs = sample(
            logits,
            torch.tensor([branch.key for branch in branches], device=device),
            torch.tensor([branch.node.end for branch in branches], device=device),
            torch.tensor([branch.sampling.temperature for branch in branches], device=device),
            torch.tensor([branch.sampling.top_p for branch in branches], device=device),
        )
        self._accept(branches, tokens.tolist(), logprobs.tolist())

    def _accept(self, branches: list[Branch], tokens: list[int], logprobs: list[float]) -> None:
        for branch, token, logprob in zip(branches, tokens, logprobs, strict=True):
            if math.isnan(logprob):
                branch.fail(f"the model returned logits that are NaN or infinite at position {branch.node.end}")
            else:
                branch.accept(token, logprob, self.model)

    def _finish(self, branch: Branch) -> None:
        """Settle all of a branch that is done but its text."""
        if branch.error is None:
            self._thoughts[branch.problem, branch.path] = branch.node, branch.tail
        else:
            self.forest.release(branch.node)
        self._finished.append(branch)

    def _decoded(self) -> list[Decoded]:
        """The children that have finished since it was last asked, with their texts."""
        finished, self._finished = self._finished, []
        return [
            Decoded(branch.problem, branch.path, branch.read(self.model), branch.logprob, branch.cost, branch.error)
            for branch in finished
        ]

    def _refuse(self, work: StepBatch) -> None:
        for item in work.too_large:
            capacity = self.forest.pool.num_pages * PAGE_SIZE
            error = f"{item.node.end} tokens do not fit into a KV pool of {capacity}; raise engine.kv_tokens"
            self._give_up(item, error)

    def _give_up(self, item: Branch | PendingPrompt, error: str) -> None:
        if isinstance(item, Branch):
            item.fail(error)
            self._finish(item)
        else:
            self.forest.release(item.node)
            self._fail(item.expansion, error)

    def _fail(self, expansion: Expansion, error: str) -> None:
        self._failed += [Decoded(expansion.problem, path, "", 0.0, Cost(), error) for path in expansion.children]

    def _take_failed(self) -> list[Decoded]:
        failed, self._failed = self._failed, []
        return failed
