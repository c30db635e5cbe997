"""The engine: takes expansions, decodes all their branches together, one step at a time, over one token forest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter

import torch

from treereason.core import Cost, Decoded, Expansion, Request, Resumption, ThoughtPath, Writing
from treereason.engine.attention import AttentionKind, eager_step
from treereason.engine.branch import Branch
from treereason.engine.graphs.cuda_capture import Capture, cuda_capture
from treereason.engine.graphs.step_graphs import GRAPH, StepGraphs
from treereason.engine.kv.cache import KVCache
from treereason.engine.kv.capacity import default_kv_tokens
from treereason.engine.kv.forest import Forest, Node
from treereason.engine.kv.pages import PagePool
from treereason.engine.model.language_model import LanguageModel
from treereason.engine.prompts import KnownThought, Prompts
from treereason.engine.sampler import branch_key, sample
from treereason.engine.scheduler import PendingPrompt, Scheduler, StepBatch
from treereason.events import StepDone
from treereason.profile import Profile

PAGE_SIZE = 16


class Engine:
    """One token forest, one model, one step for all branches of all problems.

    A decoded thought can be continued until `end_problem`.

    seed: of sampling. max_branches: branches that decode together, at most. prefill_tokens: prompt tokens computed per
    step, at most. kv_tokens: size of the KV pool, never exceeded; None is a quarter of the device's free memory, at
    most 131,072. What is cold makes way and is computed again when it is needed. Only a branch or prompt that would not
    fit alone fails, with its numbers.

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
        seed: int = 0,
        max_branches: int = 256,
        prefill_tokens: int = 2048,
        kv_tokens: int | None = None,
        deterministic: bool = False,
        attention: AttentionKind | None = None,
        capture: Capture | None = None,
        profile: Profile | None = None,
    ) -> None:
        if kv_tokens is None:
            kv_tokens = default_kv_tokens(model.device, model.kv_bytes_per_token)
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
        self._prompts = Prompts(model, self.forest)
        self._thoughts: dict[tuple[str, ThoughtPath], KnownThought] = {}
        self._answers: list[Decoded] = []
        self._finished: list[Branch] = []
        self._num_steps = 0

    @property
    def busy(self) -> bool:
        """Whether `step` has something left to compute or to return."""
        return self._scheduler.busy or bool(self._answers or self._finished)

    @property
    def style(self) -> str:
        """Style of the model's prompts: "embedded", "chat" or "plain"."""
        return self.model.style

    def submit(self, request: Request) -> None:
        """Queue a request; all its children come back from `step`, failed ones with an error."""
        try:
            self._submit(request)
        except ValueError as error:
            self._fail(request, request.children, str(error))

    def _submit(self, request: Request) -> None:
        if isinstance(request, Resumption):
            thought = self._known(request.problem, request.path)
            prompt = self._prompts.resumption(request, thought)
            if prompt is None:
                self._answers.append(replace(thought.branch.decoded(self.model), cost=Cost()))
                return
            del self._thoughts[request.problem, request.path]
        else:
            parent: KnownThought | None = None
            if request.prompt.appended and request.parent:
                parent = self._known(request.problem, request.parent)
            if isinstance(request, Writing):
                prompt, refused = self._prompts.writing(request, parent)
                for path, error in refused:
                    self._fail(request, [path], error)
                if not prompt.texts:
                    self.forest.release(prompt.node)
                    return
            else:
                prompt = self._prompts.expansion(request, parent)
        self._scheduler.add_prompt(prompt)

    def _known(self, problem: str, path: ThoughtPath) -> KnownThought:
        if (problem, path) not in self._thoughts:
            name = ".".join(map(str, path)) or "root"
            raise ValueError(f"thought {name} has no text to go on from: it failed, or is not decoded yet")
        return self._thoughts[problem, path]

    def step(self) -> tuple[list[Decoded], StepDone | None]:
        """Compute one step. Returns the children that are done, and the step's figures (None when nothing ran)."""
        started = perf_counter()
        with self._profile.measure("plan"):
            work = self._scheduler.pick(self.forest, self._num_steps)
            self._refuse(work)
            if not work.tokens:
                return self._decoded() + self._take_answers(), None
            eager = self._graphs.launch(self.forest, work, self._num_steps) if self._graphs else self._eager
        read_sequence = sum(node.start + node.num_cached for node in work.ends)
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
                sampled = [branch.node for branch in work.branches]
                sampled += [prompt.node for prompt in work.prompts if not prompt.texts]
                rows = {step.rows[node][-1]: None for node in sampled}
                rows |= {step.rows[given.node][row]: None for given in work.given for row in given.rows}
                logits = self.model.forward(step, list(rows))
            done = self._decoded()
            with self._profile.measure("sampling"):
                place = {row: i for i, row in enumerate(rows)}
                branches = list(work.branches)
                where = [place[step.rows[branch.node][-1]] for branch in branches]
                for prompt in work.prompts:
                    children = self._start_branches(prompt)
                    branches += children
                    if children:
                        where += [place[step.rows[prompt.node][-1]]] * len(children)
                self._sample(logits[where], branches)
                for given in work.given:
                    of_given = logits[[place[step.rows[given.node][row]] for row in given.rows]].float()
                    picked = torch.tensor(given.tokens, device=logits.device)[:, None]
                    given.text.take(given.first, of_given.log_softmax(dim=1).gather(1, picked)[:, 0].tolist())
                for prompt in work.prompts:
                    self._finish_texts(prompt)
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
        return done + self._take_answers(), figures

    def stop(self, problem: str, error: str) -> None:
        """End all that the problem is decoding; it comes back from `step` with this error."""
        for item in self._scheduler.drop(problem):
            self._give_up(item, error)

    def drop(self, problem: str, path: ThoughtPath) -> None:
        """Return a thought's KV now; what others need of it stays. Never an error, for no thought.

        Its token ids stay known until `end_problem`. A request that needs the thought again computes it again, at that
        request's cost: as tokens_prefilled, but for what is still there, which is tokens_reused.
        """
        thought = self._thoughts.get((problem, path))
        if thought is not None and thought.node is not None:
            thought.tokens = thought.token_ids()
            self.forest.release(thought.node)
            thought.node = None

    def end_problem(self, problem: str) -> int:
        """Stop and forget all that the problem still has; returns the most KV tokens it ever held."""
        for item in self._scheduler.drop(problem):
            self._release(item)
        self._answers = [answer for answer in self._answers if answer.problem != problem]
        self._finished = [branch for branch in self._finished if branch.problem != problem]
        for key in [key for key in self._thoughts if key[0] == problem]:
            self.drop(*key)
            del self._thoughts[key]
        peak = self.forest.peak_of(problem)
        self.forest.forget(problem)
        self.forest.check()
        return peak

    def _start_branches(self, prompt: PendingPrompt) -> list[Branch]:
        """The branches whose next token comes from the last row of a prompt that is computed."""
        request, node = prompt.request, prompt.node
        if prompt.resumed is not None:
            prompt.resumed.cost = _cost(node, prompt.num_prefilled)
            prompt.resumed.started = perf_counter()
            return [prompt.resumed]
        branches = []
        if isinstance(request, Expansion):
            for path in request.children:
                # The prompt is computed once for all children: the first one bears its cost.
                num_prefilled = prompt.num_prefilled if path == request.children[0] else 0
                branches.append(
                    Branch(
                        problem=request.problem,
                        path=path,
                        node=self.forest.fork(node, request.problem),
                        prompt=request.prompt,
                        sampling=request.sampling,
                        key=branch_key(self._seed, request.problem, path),
                        max_tokens=min(request.prompt.max_tokens, self.model.max_positions - node.end),
                        cost=_cost(node, num_prefilled),
                    )
                )
        self.forest.release(node)
        return branches

    def _finish_texts(self, prompt: PendingPrompt) -> None:
        for text in prompt.texts:
            # As above: the first text bears the prompt's cost, and each what was computed for it first.
            num_prefilled = text.num_prefilled + (prompt.num_prefilled if text is prompt.texts[0] else 0)
            text.branch.cost = _cost(text.node, num_prefilled)
            text.finish()
            self._finish(text.branch)

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
                branch.fail_at(branch.node.end)
            else:
                branch.accept(token, logprob, self.model)

    def _finish(self, branch: Branch) -> None:
        """Settle all of a branch that is done but its text."""
        if branch.error is None:
            key = branch.problem, branch.path
            self.drop(*key)  # should the same child have been asked for twice
            self._thoughts[key] = KnownThought(branch, branch.node, branch.tail)
        else:
            self.forest.release(branch.node)
        self._finished.append(branch)

    def _decoded(self) -> list[Decoded]:
        """The children that have finished since it was last asked, with their texts."""
        finished, self._finished = self._finished, []
        return [branch.decoded(self.model) for branch in finished]

    def _refuse(self, work: StepBatch) -> None:
        for item in work.too_large:
            node = item.node if isinstance(item, Branch) else max(item.nodes, key=lambda node: node.end)
            capacity = self.forest.pool.num_pages * PAGE_SIZE
            error = f"{node.end} tokens do not fit into a KV pool of {capacity}; raise engine.kv_tokens"
            self._give_up(item, error)

    def _give_up(self, item: Branch | PendingPrompt, error: str) -> None:
        branch = item if isinstance(item, Branch) else item.resumed
        if branch is not None:
            branch.fail(error)
            self._finish(branch)
        else:
            self._release(item)
            assert isinstance(item, PendingPrompt)
            paths = [text.branch.path for text in item.texts] or item.request.children
            self._fail(item.request, paths, error)

    def _release(self, item: Branch | PendingPrompt) -> None:
        for node in [item.node] if isinstance(item, Branch) else item.nodes:
            self.forest.release(node)

    def _fail(self, request: Request, paths: Sequence[ThoughtPath], error: str) -> None:
        self._answers += [Decoded(request.problem, path, "", 0.0, Cost(), error) for path in paths]

    def _take_answers(self) -> list[Decoded]:
        answers, self._answers = self._answers, []
        return answers


def _cost(node: Node, num_prefilled: int) -> Cost:
    """Cost of what ends with `node`, before anything is decoded."""
    return Cost(tokens_prefilled=num_prefilled, tokens_reused=node.end - num_prefilled)
