"""The one door to the kernels: a step's plan and KV pool go in beside the model's inputs, attention comes back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np
import torch
from transformers import AttentionInterface

from treereason.engine.kv.cache import KVCache
from treereason.engine.kv.forest import Forest, Node
from treereason.kernels.cpu.invariant_backend import InvariantBackend
from treereason.kernels.cpu.torch_backend import TorchBackend
from treereason.kernels.gpu.triton_backend import TritonBackend
from treereason.kernels.options import AttentionOptions
from treereason.kernels.plan import Int32, Plan, make_plan
from treereason.profile import Profile

NAME = "treereason"

AttentionKind = Literal["tree", "triton", "sequence", "invariant"]
"""tree: each node is read once; triton: the same on a GPU. sequence: every branch reads its own path, for comparison.
invariant: bits of a row do not depend on its company."""


Backend = TorchBackend | TritonBackend | InvariantBackend
BACKENDS: dict[AttentionKind, Callable[[Plan], Backend]] = {
    "tree": TorchBackend,
    "triton": TritonBackend,
    "sequence": TorchBackend,
    "invariant": InvariantBackend,
}


class AttentionStep(Protocol):
    """What a model's forward carries to its attention layers."""

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, options: AttentionOptions
    ) -> torch.Tensor:
        """Store key and value [N, Hkv, D], and attend: query [N, Hq, D] -> [N, Hq, D]."""
        ...


@dataclass(frozen=True)
class EagerStep:
    """What attention needs to know of one step, the same for all layers.

    token_ids, positions: [N] int64, rows in depth-first order, then `num_padding` rows that stand for nothing.
    slots: [N - num_padding] int64.
    rows: of each node that computes tokens, the rows of those, in their order.
    """

    plan: Plan
    backend: Backend
    profile: Profile
    cache: KVCache
    token_ids: torch.Tensor
    positions: torch.Tensor
    slots: torch.Tensor
    rows: dict[Node, range]
    num_padding: int = 0

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, options: AttentionOptions
    ) -> torch.Tensor:
        with self.profile.measure("attention"):
            query, key, value = (x[: len(self.slots)] for x in (query, key, value))
            keys, values = self.cache.store(layer, self.slots, key, value)
            out, _lse = self.backend(query.contiguous(), keys, values, options)
            return torch.nn.functional.pad(out, (0, 0, 0, 0, 0, self.num_padding)) if self.num_padding else out


class GraphStep:
    """The same for captured steps of at most `num_rows` branches, one token each: the plan changes in place.

    Needs Triton, and pools that every layer has stored to.
    """

    def __init__(self, cache: KVCache, plan: Plan, num_rows: int) -> None:
        from treereason.kernels.gpu.static_backend import StaticBackend

        self.backend = StaticBackend(plan, num_rows)
        self._cache = cache

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, options: AttentionOptions
    ) -> torch.Tensor:
        return self.backend(query.contiguous(), key, value, *self._cache.pools(layer), options)


def eager_step(
    forest: Forest,
    work: dict[Node, int],
    cache: KVCache,
    *,
    attention: AttentionKind = "tree",
    num_rows: int = 0,
    device: torch.device | str = "cpu",
    profile: Profile | None = None,
) -> EagerStep:
    """The step that computes the last `work[node]` stored tokens of every node in `work`.

    num_rows: rows to pad to, so that every step has the same shape; 0 for none.
    """
    plan, nodes, new = forest_plan(forest, work)
    token_ids = [
        token for node in nodes for token in node.tokens[node.num_cached - work.get(node, 0) : node.num_cached]
    ]
    num_padding = max(0, num_rows - plan.num_rows)
    return EagerStep(
        plan=plan,
        backend=BACKENDS[attention](each_alone(plan, new) if attention == "sequence" else plan),
        profile=profile or Profile(),
        cache=cache,
        token_ids=torch.tensor(token_ids + [0] * num_padding, device=device),
        positions=torch.from_numpy(np.pad(plan.row_position, (0, num_padding))).long().to(device),
        slots=torch.from_numpy(plan.row_slot).long().to(device),
        rows={node: range(plan.node_lo[i], plan.node_lo[i] + new[i]) for i, node in enumerate(nodes) if new[i]},
        num_padding=num_padding,
    )


def forest_plan(forest: Forest, work: dict[Node, int], num_reserved: int = 0) -> tuple[Plan, list[Node], Int32]:
    """The plan of a step that computes `work`, its V nodes, and how many tokens of each are computed, [V].

    num_reserved: entries without a page yet that nodes in `work` get behind their last page, to grow into.
    """
    on_path: set[Node] = set()
    for node in work:
        part: Node | None = node
        while part is not None and part not in on_path:
            on_path.add(part)
            part = part.parent
    nodes, subtree_end = _depth_first(forest.root, on_path)
    new = np.array([work.get(node, 0) for node in nodes], dtype=np.int32)
    pages = [node.pages for node in nodes]
    if num_reserved:
        pages = [node.pages + [0] * num_reserved if node in work else node.pages for node in nodes]
    plan = make_plan(
        start=np.array([node.start for node in nodes], dtype=np.int32),
        tokens=np.array([node.num_cached for node in nodes], dtype=np.int32),
        new_tokens=new,
        subtree_end=subtree_end,
        pages=np.array([page for part in pages for page in part], dtype=np.int32),
        page_offset=np.cumsum([0, *map(len, pages)], dtype=np.int32),
        page_size=forest.page_size,
    )
    return plan, nodes, new


def each_alone(plan: Plan, new_tokens: Int32) -> Plan:
    """The same rows and KV, but the path of every node with new tokens is listed once for its rows alone."""
    owners = np.flatnonzero(new_tokens)
    lows = plan.node_lo[owners]
    above = (plan.node_lo[None] <= lows[:, None]) & (lows[:, None] < plan.node_hi[None]) & (plan.node_tokens > 0)
    owner, node = np.nonzero(above)
    pages = [plan.pages[plan.node_page[i] : plan.node_page[i + 1]] for i in node]
    return replace(
        plan,
        node_lo=lows[owner],
        node_hi=(lows + new_tokens[owners])[owner],
        node_start=plan.node_start[node],
        node_tokens=plan.node_tokens[node],
        node_page=np.cumsum([0, *map(len, pages)], dtype=np.int32),
        pages=np.concatenate(pages),
    )


def _depth_first(root: Node, on_path: set[Node]) -> tuple[list[Node], Any]:
    """The nodes of `on_path`, parents first, and for each the index after its subtree, [V] int32."""
    nodes: list[Node] = []
    parents: list[int] = []
    stack: list[tuple[Node, int]] = [(child, -1) for child in reversed(root.children) if child in on_path]
    while stack:
        node, parent = stack.pop()
        index = len(nodes)
        nodes.append(node)
        parents.append(parent)
        stack.extend((child, index) for child in reversed(node.children) if child in on_path)
    subtree_end = np.arange(1, len(nodes) + 1, dtype=np.int32)
    for index in range(len(nodes) - 1, -1, -1):
        if parents[index] >= 0:
            subtree_end[parents[index]] = max(subtree_end[parents[index]], subtree_end[index])
    return nodes, subtree_end


def tree_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    step: AttentionStep | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' attention interface: query [1, Hq, N, D], key and value [1, Hkv, N, D] -> [1, N, Hq, D]."""
    if step is None:
        raise ValueError("treereason attention needs step=EagerStep among the model's keyword arguments")
    assert attention_mask is None
    layer = module.layer_idx
    assert isinstance(layer, int)
    q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))  # [N, H, D]
    options = AttentionOptions(scale=scaling, window=sliding_window, softcap=softcap, sinks=s_aux)
    out = step.attend(layer, q, k, v, options)
    return out[None], None


AttentionInterface.register(NAME, tree_attention)
