"""Decode steps from captured graphs: one for each number of rows, the head and the sampling included.

A step in which every running branch computes one token does the same work as the last one over other numbers. Those
lie in device memory at fixed addresses, so the work is captured once and replayed. The plan is made anew when the set
of branches has changed; between that, leaves grow in place into entries that the plan reserved.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

import torch

from treereason.engine.attention import GraphStep, forest_plan
from treereason.engine.branch import Branch
from treereason.engine.graphs.cuda_capture import Body, Capture
from treereason.engine.graphs.step_buffers import StepBuffers
from treereason.engine.kv.cache import KVCache
from treereason.engine.kv.forest import Forest, Node
from treereason.engine.model.language_model import LanguageModel
from treereason.engine.sampler import sample
from treereason.engine.scheduler import StepBatch

GRAPH = "graph"
NUM_RESERVED = 1
# Less than half of a bucket is padding, from 17 rows on less than a third. Wider steps keep a device busy for longer
# than their launches take, and have a kernel of their own.
BUCKETS = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)


@dataclass
class _Loaded:
    """The plan that lies in a bucket's buffers. row_of: the row of each leaf, in order. step: the last it served."""

    bucket: int
    row_of: dict[Node, int]
    nucleus: bool
    kv_tokens_read: int
    step: int


class StepGraphs:
    """Runs steps, those it can: `launch`, and later `read`.

    num_plans, num_captures: how many it has made.
    """

    def __init__(self, model: LanguageModel, cache: KVCache, max_branches: int, capture: Capture) -> None:
        self._model = model
        self._cache = cache
        self._capture = capture
        most = min(max_branches, BUCKETS[-1])
        self._buckets = [*(rows for rows in BUCKETS if rows < most), most]
        self._buffers = StepBuffers(self._buckets[-1], model.device)
        self._trees: dict[int, GraphStep] = {}
        self._replays: dict[tuple[int, bool], Body] = {}
        self._loaded: _Loaded | None = None
        self._failure = ""
        self.num_plans = 0
        self.num_captures = 0

    @torch.inference_mode()
    def launch(self, forest: Forest, work: StepBatch, step: int) -> str:
        """Start the step, and return ""; or why it has to run eagerly."""
        if self._failure:
            return self._failure
        if work.prompts or len(work.tokens) > len(work.branches) or max(work.tokens.values()) > 1:
            return "prefill"
        if len(work.branches) > self._buckets[-1]:
            return f"more than {self._buckets[-1]} branches"
        loaded = self._advance(work, step) or self._plan(forest, work, step)
        leaves = loaded.row_of
        self._buffers.send([leaf.tokens[-1] for leaf in leaves], [leaf.end - 1 for leaf in leaves], loaded.bucket)
        try:
            replay = self._replay(loaded.bucket, loaded.nucleus)
        except Exception as error:
            self._give_up(error)
            return self._failure
        replay()
        self._buffers.fetch(len(leaves))
        return ""

    def read(self, branches: list[Branch]) -> tuple[list[int], list[float]]:
        """Wait for the step: each branch's token and its log-probability."""
        assert self._loaded is not None
        rows = [self._loaded.row_of[branch.node] for branch in branches]
        tokens, logprobs = self._buffers.read(len(rows))
        return [tokens[row] for row in rows], [logprobs[row] for row in rows]

    @property
    def kv_tokens_read(self) -> int:
        """KV tokens that the last step read, each node once."""
        assert self._loaded is not None
        return self._loaded.kv_tokens_read

    def _advance(self, work: StepBatch, step: int) -> _Loaded | None:
        """The loaded plan, one token further; None when it is not the plan of this step.

        It is, when the last step was of the same branches: what they stand on cannot have moved in between.
        """
        loaded = self._loaded
        if loaded is None or step != loaded.step + 1 or loaded.row_of.keys() != work.tokens.keys():
            return None
        if not self._trees[loaded.bucket].backend.advance([leaf.pages[-1] for leaf in loaded.row_of]):
            return None
        loaded.kv_tokens_read += len(loaded.row_of)
        loaded.step = step
        return loaded

    def _plan(self, forest: Forest, work: StepBatch, step: int) -> _Loaded:
        plan, nodes, _ = forest_plan(forest, work.tokens, NUM_RESERVED)
        self.num_plans += 1
        bucket = self._buckets[bisect_left(self._buckets, plan.num_rows)]
        if bucket not in self._trees:
            self._trees[bucket] = GraphStep(self._cache, plan, bucket)
        elif not self._trees[bucket].backend.load(plan):
            for nucleus in (False, True):
                self._replays.pop((bucket, nucleus), None)
        leaves = [node for node in nodes if node in work.tokens]
        branch_of = {branch.node: branch for branch in work.branches}
        branches = [branch_of[leaf] for leaf in leaves]
        self._buffers.place(
            [branch.key for branch in branches],
            [branch.sampling.temperature for branch in branches],
            [branch.sampling.top_p for branch in branches],
        )
        self._loaded = _Loaded(
            bucket=bucket,
            row_of={leaf: row for row, leaf in enumerate(leaves)},
            nucleus=any(branch.sampling.top_p < 1 for branch in branches),
            kv_tokens_read=plan.kv_tokens_read_tree,
            step=step,
        )
        return self._loaded

    def _replay(self, bucket: int, nucleus: bool) -> Body:
        """What runs the step on the first `bucket` rows of the buffers, captured when it is first wanted."""
        if (bucket, nucleus) not in self._replays:
            tree, buffers = self._trees[bucket], self._buffers
            token_ids, positions, keys = buffers.inputs(bucket)
            temperature, top_p = buffers.sampling(bucket)

            def body() -> None:
                logits = self._model.forward_all(token_ids, positions, tree)
                buffers.put(*sample(logits, keys, positions + 1, temperature, top_p, nucleus=nucleus))

            self._replays[bucket, nucleus] = self._capture(body)
            self.num_captures += 1
        return self._replays[bucket, nucleus]

    def _give_up(self, error: BaseException) -> None:
        while error.__context__ is not None:  # ending a failed capture fails as well; the first error tells why
            error = error.__context__
        lines = str(error).strip().splitlines() or [""]
        self._failure = f"cannot be captured: {type(error).__name__}: {lines[0]}"
        self._replays.clear()
        self._trees.clear()
        self._loaded = None
