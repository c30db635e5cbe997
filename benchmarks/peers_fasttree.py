"""FastTree's kernel, and its port of DeFT's, out of a checkout of FastTree's artifact (MLSys 2025).

Nothing of it is copied here: its modules are loaded from where the user has them, and given the plan as they want it,
one tree whose leaves decode one row each, with the tile and chunk sizes of its own benchmark.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch

from benchmarks.plan_paths import row_slots
from treereason.kernels.plan import Plan
from treereason.kernels.tools.fasttree_cut import CHUNKS, FEW_CHUNKS, FEW_TILES, KV_TILE, one_tree, parents

Run = Callable[[], torch.Tensor]
FILES = {"fasttree": "fasttree.py", "deft_port": "DeFT.py"}
# DeFT as FastTree's benchmark runs it: tokens of a group, branches of a mask.
DEFT_GROUP, DEFT_MASK = 128, 64


def missing(name: str, checkout: Path | None) -> str | None:
    """Why one of FILES cannot run here, in one line; None where it can."""
    if checkout is None:
        return "give FastTree's checkout by --fasttree-path or TREEREASON_FASTTREE"
    if not (_folder(checkout) / FILES[name]).is_file():
        return f"no {FILES[name]} in {_folder(checkout)}"
    return None if torch.cuda.is_available() else "needs a GPU to plan on"


def fasttree(checkout: Path, plan: Plan, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float) -> Run:
    """FastTree. Raises ValueError for what it does not take."""
    tree = _tree(plan)
    if plan.node_tokens.sum() * k.shape[1] * k.shape[2] >= 2**31:
        raise ValueError("FastTree indexes keys by 32 bits, and these are more")
    module: Any = _load(checkout, "fasttree")
    group_size = q.shape[1] // k.shape[1]
    params = module.FastTreeParams()
    params.set_q_tile_sizes([max(1, 64 // group_size), max(1, 16 // group_size)])
    params.set_kv_tile_sizes([KV_TILE, KV_TILE])
    params.set_kv_group_num(group_size)
    starts = np.concatenate([[0], np.cumsum(plan.node_tokens)]).tolist()
    sizes = (q.shape[1], k.shape[1], q.shape[2], list(CHUNKS), list(FEW_CHUNKS), list(FEW_TILES))
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its cut
        arrays, _ = module.fasttree_preparation(tree, starts, plan.num_rows, *sizes, params)
    slots = _index(np.concatenate([plan.slots(node) for node in range(plan.num_nodes)]), q.device)
    keys, values = k[slots].contiguous(), v[slots].contiguous()
    out = torch.empty_like(q)

    def run() -> torch.Tensor:
        module.fasttree_decode(q, keys, values, out, *arrays, params.TSQs, params.TSKs, scale)
        return out

    return run


def deft_port(checkout: Path, plan: Plan, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float) -> Run:
    """DeFT-Flatten as FastTree ports it, in float16, the only type it takes. Raises ValueError as `fasttree`."""
    tree = _tree(plan)
    module: Any = _load(checkout, "deft_port")
    # Tokens of the first row below a node are read out of that row's own copy of its path.
    longest = int(plan.row_position.max()) + 1
    slots = np.zeros((plan.num_rows, longest), dtype=np.int64)
    for row in range(plan.num_rows):
        slots[row, : plan.row_position[row] + 1] = row_slots(plan, row)
    at = _index(slots.reshape(-1), q.device)
    queries, keys, values = q.half(), k[at].half().contiguous(), v[at].half().contiguous()
    apart = keys.view(plan.num_rows, longest, *keys.shape[1:])
    module.cur_length = 0  # it begins where its last call ended
    arrays = module.DeFT_preparation(tree, apart, DEFT_GROUP, DEFT_MASK, q.shape[1], q.shape[2])
    query_tile = max(1, 64 * k.shape[1] // q.shape[1])
    out = torch.empty_like(queries)

    def run() -> torch.Tensor:
        module.DeFT_decode(queries, keys, values, out, *arrays, query_tile, KV_TILE, scale, DEFT_MASK)
        return out

    return run


def _tree(plan: Plan) -> list[SimpleNamespace]:
    """Its nodes: parent, tokens, children, and the rows below."""
    if not one_tree(plan):
        raise ValueError("takes one tree whose leaves decode one row each")
    above = parents(plan)
    return [
        SimpleNamespace(
            id=node,
            parent=above[node],
            seqlen=int(plan.node_tokens[node]),
            num_children=above.count(node),
            requests=list(range(plan.node_lo[node], plan.node_hi[node])),
        )
        for node in range(plan.num_nodes)
    ]


def _folder(checkout: Path) -> Path:
    inside = checkout / "kernel_bench"
    return inside if inside.is_dir() else checkout


def _load(checkout: Path, name: str) -> ModuleType:
    """The module, loaded once; its neighbours are importable meanwhile."""
    file = _folder(checkout) / FILES[name]
    known = f"benchmarks_{name}_{abs(hash(file))}"
    if known in sys.modules:
        return sys.modules[known]
    spec = importlib.util.spec_from_file_location(known, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[known] = module
    sys.path.insert(0, str(file.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(file.parent))
    return module


def _index(slots: np.ndarray, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(slots.astype(np.int64)).to(device)
