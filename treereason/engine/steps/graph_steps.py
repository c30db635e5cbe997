"""Decode steps from captured graphs: one for each number of rows, the language model's head and the sampling
included.

A step in which every running branch computes one token, and those of its draft where it has one, does the same as the
last one over other numbers. Those lie in device memory at fixed addresses, so the work is captured once and replayed.
The plan is made anew for each step with drafts, and when the set of branches has changed; between that, leaves grow in
place into entries that the plan reserved.

Where nothing is ever proposed, the next step is launched before the first one's tokens are known, on the guess that no
branch ends: tokens go from step to step on the device. For a branch that goes on the guess is right whatever the others
do, since no row depends on another. What was computed for a branch that did end lies where it was, and is written over.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

import torch

from treereason.core import UserError
from treereason.core.spans import View
from treereason.engine.attention.forest_plan import forest_plan
from treereason.engine.attention.graph_step import GraphStep
from treereason.engine.attention.span_reader import SpanReader
from treereason.engine.kv.cache import KVCache
from treereason.engine.kv.forest import Forest, Node
from treereason.engine.model.language_model import LanguageModel
from treereason.engine.schedule.branch import Branch
from treereason.engine.schedule.step_batch import StepBatch
from treereason.engine.steps.cuda_capture import Body, Capture, TorchIsBroken, first_cause
from treereason.engine.steps.sampler import sample
from treereason.engine.steps.sampling_rows import Cuts
from treereason.engine.steps.step_buffers import StepBuffers
from treereason.engine.steps.step_kind import Drawn, Refusal
from treereason.profile import Profile

NUM_RESERVED = 1
# Less than half of a bucket is padding, from 17 rows on less than a third. Wider steps keep a device busy for longer
# than their launches take, and have a kernel of their own.
BUCKETS = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)


@dataclass(frozen=True)
class _Launched:
    """A step on the device. rows: as in _Loaded. fetched: where its outputs come back (StepBuffers.fetch)."""

    step: int
    rows: dict[Node, range]
    kv_tokens_read: int
    kv_tokens_seen: int
    fetched: int

    def serves(self, batch: StepBatch) -> bool:
        """Whether it has computed all that the batch is of."""
        return self.step == batch.step and not batch.prompts and batch.tokens.keys() <= self.rows.keys()


@dataclass
class _Loaded:
    """The plan that lies in a bucket's buffers. rows: of each node that computes tokens, in order. step: the last one
    launched.

    views: of the nodes' ends, under a span policy. has_drafts: then it serves one step.
    """

    bucket: int
    rows: dict[Node, range]
    has_drafts: bool
    cuts: Cuts
    kv_tokens_read: int
    kv_tokens_seen: int
    views: list[View]
    step: int


class GraphSteps:
    """Takes steps in which running branches compute one token and their drafts, and nothing else does.

    max_rows: most rows of a step. goes_ahead: whether the next step is launched before one is read; then none may have
    drafts.
    num_plans, num_captures: how many it has made. num_bytes: of device memory that graphs and their buffers hold beside
    model and KV.
    """

    launch = "graph"

    def __init__(
        self,
        model: LanguageModel,
        forest: Forest,
        cache: KVCache,
        *,
        max_rows: int,
        capture: Capture,
        goes_ahead: bool = True,
        reader: SpanReader | None = None,
        profile: Profile | None = None,
    ) -> None:
        self._model = model
        self._forest = forest
        self._cache = cache
        self._capture = capture
        self._goes_ahead = goes_ahead
        self._reader = reader
        self._profile = profile or Profile()
        most = min(max_rows, BUCKETS[-1])
        self._buckets = [*(rows for rows in BUCKETS if rows < most), most]
        self._buffers = StepBuffers(self._buckets[-1], model.device)
        self._trees: dict[int, GraphStep] = {}
        self._replays: dict[tuple[int, Cuts], Body] = {}
        self._loaded: _Loaded | None = None
        self._started: _Launched | None = None
        self._batch = StepBatch(step=-1)
        self._ahead: _Launched | None = None
        self._failure = ""
        self.num_plans = 0
        self.num_captures = 0
        self.num_bytes = 0

    @torch.inference_mode()
    def start(self, batch: StepBatch) -> Refusal | None:
        """Begin to replay the batch's graph, captured now if need be; or refuse, with a reason.

        Raises UserError where a capture has failed and torch cannot go on.
        """
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead.serves(batch):
            self._started = ahead
            if len(batch.tokens) < len(ahead.rows):
                read = _kv_tokens_above(batch.tokens)
                self._started = replace(ahead, kv_tokens_read=read, kv_tokens_seen=read)
        else:
            if ahead is not None:
                self._loaded = None
            refusal = self._launch(batch)
            if refusal is not None:
                return refusal
        with self._profile.measure("plan"):
            self._ahead = self._launch_next(batch)
        self._batch = batch
        return None

    def finish(self, branches: Sequence[Branch]) -> Drawn:
        """As in StepKind."""
        assert self._started is not None
        with self._profile.measure("model"):
            of_nodes = self._started.rows
            tokens, logprobs = self._buffers.read(self._started.fetched, _num_rows(of_nodes))
            rows = [row for branch in branches for row in self._batch.rows_of(branch, of_nodes)]
            return Drawn([tokens[row] for row in rows], [logprobs[row] for row in rows])

    @property
    def kv_tokens_read(self) -> int:
        """As in StepKind; without what was read for branches that have ended."""
        assert self._started is not None
        return self._started.kv_tokens_read

    @property
    def kv_tokens_seen(self) -> int:
        """As in StepKind."""
        assert self._started is not None
        return self._started.kv_tokens_seen

    @property
    def ahead(self) -> Collection[Node]:
        """As in StepKind."""
        return self._ahead.rows.keys() if self._ahead is not None else ()

    def _launch(self, batch: StepBatch) -> Refusal | None:
        if self._failure:
            return Refusal(self._failure)
        num_rows = sum(batch.tokens.values())
        if batch.prompts or num_rows > len(batch.branches) + sum(len(laid.places) for laid in batch.drafts.values()):
            return Refusal("prefill")
        if num_rows > self._buckets[-1]:
            return Refusal(f"more than {self._buckets[-1]} rows")
        with self._profile.measure("plan"):
            loaded = self._advance(batch) or self._plan(batch)
            tokens = [token for node, rows in loaded.rows.items() for token in node.tokens[-len(rows) :]]
            positions = [at for node, rows in loaded.rows.items() for at in range(node.end - len(rows), node.end)]
            self._buffers.send(tokens, positions, loaded.bucket)
            try:
                replay = self._replay(loaded.bucket, loaded.cuts)
            except TorchIsBroken as error:
                raise UserError(
                    f"model.name={self._model.name}: its decode step cannot be captured as a graph: {error}; torch "
                    f"{torch.__version__} cannot go on after that: run again with engine.graphs=false"
                ) from error
            except Exception as error:  # of any type: a capture fails in torch, in Triton or in the driver
                self._give_up(error)
                return Refusal(self._failure)
            self._started = self._run(loaded, replay)
        return None

    def _launch_next(self, batch: StepBatch) -> _Launched | None:
        """Launch the step behind the batch's; None where that is sure to be of other branches, or lacks pages."""
        loaded = self._loaded
        assert loaded is not None
        if not self._goes_ahead or batch.others_wait or loaded.rows.keys() != batch.tokens.keys():
            return None
        if self._reader is not None:  # what the next row sees is told by the token that is being drawn
            return None
        if any(len(branch.tokens) + 1 == branch.max_tokens for branch in batch.branches):
            return None
        if not all(self._forest.reserve_page(leaf) for leaf in loaded.rows) or not self._move(loaded):
            return None
        self._buffers.feed(loaded.bucket)
        return self._run(loaded, self._replays[loaded.bucket, loaded.cuts])

    def _run(self, loaded: _Loaded, replay: Body) -> _Launched:
        replay()
        fetched = self._buffers.fetch(_num_rows(loaded.rows))
        return _Launched(loaded.step, loaded.rows, loaded.kv_tokens_read, loaded.kv_tokens_seen, fetched)

    def _advance(self, batch: StepBatch) -> _Loaded | None:
        """The loaded plan, one token further; None when it is not the plan of this step.

        It is, when the last step was of the same branches, and they see the same: nodes above them cannot have changed
        in between.
        """
        loaded = self._loaded
        if loaded is None or loaded.has_drafts or batch.drafts:
            return None
        if batch.step != loaded.step + 1 or loaded.rows.keys() != batch.tokens.keys():
            return None
        if self._views(loaded.rows) != loaded.views:
            return None
        return loaded if self._move(loaded) else None

    def _views(self, leaves: Iterable[Node]) -> list[View]:
        return [] if self._reader is None else [self._reader.at_end(leaf) for leaf in leaves]

    def _move(self, loaded: _Loaded) -> bool:
        """Move the plan to its next step, whose pages its leaves have; False when it is time for a new plan."""
        if not self._trees[loaded.bucket].backend.advance([leaf.pages[-1] for leaf in loaded.rows]):
            return False
        loaded.kv_tokens_read += len(loaded.rows)
        loaded.kv_tokens_seen += len(loaded.rows)
        loaded.step += 1
        return True

    def _plan(self, batch: StepBatch) -> _Loaded:
        """The batch's plan, made anew and put where its bucket's graph reads it."""
        planned = forest_plan(self._forest, batch.tokens, NUM_RESERVED, self._reader)
        plan = planned.plan
        self.num_plans += 1
        bucket = self._buckets[bisect_left(self._buckets, plan.num_rows)]
        if bucket not in self._trees:
            self._trees[bucket] = GraphStep(self._cache, plan, bucket)
        elif not self._trees[bucket].backend.load(plan):
            for key in [key for key in self._replays if key[0] == bucket]:
                del self._replays[key]
        rows = planned.rows()
        branch_of = {branch.node: branch for branch in batch.branches}
        branch_of |= {sprout: laid.branch for laid in batch.drafts.values() for sprout in laid.sprouts}
        branches = [branch_of[node] for node, of_node in rows.items() for _ in of_node]
        self._buffers.place([branch.key for branch in branches], [branch.sampling for branch in branches])
        self._loaded = _Loaded(
            bucket=bucket,
            rows=rows,
            has_drafts=bool(batch.drafts),
            cuts=Cuts.of(branch.sampling for branch in branches),
            kv_tokens_read=planned.whole.kv_tokens_read_tree,
            kv_tokens_seen=plan.kv_tokens_read_tree,
            views=self._views(rows),
            step=batch.step,
        )
        return self._loaded

    def _replay(self, bucket: int, cuts: Cuts) -> Body:
        """What runs the step on the first `bucket` rows of the buffers, captured when it is first wanted."""
        if (bucket, cuts) not in self._replays:
            tree, buffers = self._trees[bucket], self._buffers
            token_ids, positions, keys = buffers.inputs(bucket)
            rows = buffers.sampling(bucket, cuts)

            def body() -> None:
                logits = self._model.forward_all(token_ids, positions, tree)
                buffers.put(*sample(logits, keys, positions + 1, rows))

            before = self._held_bytes()
            self._replays[bucket, cuts] = self._capture(body)
            self.num_captures += 1
            self.num_bytes += self._held_bytes() - before
        return self._replays[bucket, cuts]

    def _held_bytes(self) -> int:
        """Device memory that torch cannot give back; 0 on a CPU."""
        if self._model.device.type != "cuda":
            return 0
        torch.cuda.empty_cache()
        return torch.cuda.memory_reserved(self._model.device)

    def _give_up(self, error: BaseException) -> None:
        self._failure = f"cannot be captured: {first_cause(error)}"
        self._replays.clear()
        self._trees.clear()
        self._loaded = None
        del self._capture  # and with it all graphs: none is replayed again
        self.num_bytes = 0


def _kv_tokens_above(leaves: Iterable[Node]) -> int:
    """KV tokens of these nodes and all above them, each once."""
    return sum(node.num_cached for node in {node for leaf in leaves for node in leaf.path()})


def _num_rows(of_nodes: dict[Node, range]) -> int:
    return sum(map(len, of_nodes.values()))
