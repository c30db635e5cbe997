"""Other projects' attention on our plans: torch's runs here; of the others the indices, by stand-ins for them."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.forests import Forest, levels, several, speculative, star
from benchmarks.peers import Prepare, peers
from benchmarks.peers_fasttree import deft_port, fasttree, missing
from benchmarks.peers_flashinfer import flashinfer_cascade, flashinfer_decode
from benchmarks.peers_torch import flex, sdpa
from benchmarks.tree_attention import by_definition, main, tensors
from treereason.kernels.layer import LayerShape

SHAPE = LayerShape(num_heads=8, num_kv_heads=2, head_dim=16, dtype=torch.float32)
TREE = levels((1, 2, 6), (21, 5, 9))
FORESTS = {"star": star(5, 37, 9), "levels": TREE, "two trees": several([star(3, 20, 4), TREE])}
GUESSES = speculative(25, [[0], [1], [0, 0], [0, 1]])


def check(prepare: Prepare, forest: Forest, tolerance: float = 1e-5) -> None:
    plan = forest.plan(rng=np.random.default_rng(1), room=16)
    data = tensors(plan, SHAPE, "cpu")
    out = prepare(plan, *data, 0.3)()
    want = by_definition(plan, list(range(plan.num_rows)), data, scale=0.3)
    torch.testing.assert_close(out.float(), want, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("prepare", [sdpa, flex])
@pytest.mark.parametrize("forest", [*FORESTS.values(), GUESSES], ids=[*FORESTS, "guesses"])
def test_torch_with_a_mask(prepare: Prepare, forest: Forest) -> None:
    check(prepare, forest)


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    """(out, log-sum-exp) of rows q [N, Hq, D] over tokens k, v [T, Hkv, D]."""
    k, v = (t.repeat_interleave(q.shape[1] // t.shape[1], 1) for t in (k, v))
    scores = torch.einsum("nhd,thd->nht", q, k) * scale
    return torch.einsum("nht,thd->nhd", scores.softmax(-1), v), scores.logsumexp(-1)


class Levels:
    """Stands in for FlashInfer's cascade: every level's rows over their pages, merged."""

    def __init__(self, num_levels: int, workspace: torch.Tensor, layout: str) -> None:
        assert layout == "NHD"
        assert workspace.dtype == torch.uint8
        self.num_levels = num_levels

    def plan(
        self,
        qo_indptr_arr: Sequence[torch.Tensor],
        paged_kv_indptr_arr: Sequence[torch.Tensor],
        paged_kv_indices_arr: Sequence[torch.Tensor],
        paged_kv_last_page_len: Sequence[torch.Tensor],
        num_qo_heads: int,
        num_kv_heads: int,
        head_dim: int,
        page_size: int,
        *,
        sm_scale: float,
        q_data_type: torch.dtype,
    ) -> None:
        assert (num_qo_heads, num_kv_heads, head_dim, page_size) == (8, 2, 16, 1)
        assert q_data_type == torch.float32
        self.levels = list(zip(qo_indptr_arr, paged_kv_indptr_arr, paged_kv_indices_arr, strict=True))
        assert len(self.levels) == self.num_levels
        assert all(bool((last == 1).all()) for last in paged_kv_last_page_len)
        self.scale = sm_scale

    def run(self, q: torch.Tensor, cache: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        k, v = (pool[:, 0] for pool in cache)
        outs, lses = [], []
        for rows, starts, pages in self.levels:
            out, lse = torch.zeros_like(q), torch.full(q.shape[:2], -torch.inf)
            for entry, (lo, hi) in enumerate(zip(rows[:-1].tolist(), rows[1:].tolist(), strict=True)):
                seen = pages[starts[entry] : starts[entry + 1]].long()
                if len(seen):
                    out[lo:hi], lse[lo:hi] = attend(q[lo:hi], k[seen], v[seen], self.scale)
            outs.append(out)
            lses.append(lse)
        weights = torch.stack(lses).softmax(0)
        return (torch.stack(outs) * weights[..., None]).sum(0)


class Paths(Levels):
    """Stands in for FlashInfer's paged decode, which is a cascade of one level with an entry a row."""

    def __init__(self, workspace: torch.Tensor, layout: str, *, use_tensor_cores: bool) -> None:
        super().__init__(1, workspace, layout)
        assert use_tensor_cores

    def plan(  # type: ignore[override]
        self,
        indptr: torch.Tensor,
        indices: torch.Tensor,
        last_page_len: torch.Tensor,
        *sizes: int,
        q_data_type: torch.dtype,
        kv_data_type: torch.dtype,
        sm_scale: float,
    ) -> None:
        assert kv_data_type == q_data_type
        rows = torch.arange(len(indptr))
        where = ([rows], [indptr], [indices], [last_page_len])
        super().plan(*where, *sizes, sm_scale=sm_scale, q_data_type=q_data_type)


@pytest.fixture
def flashinfer(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = SimpleNamespace(BatchDecodeWithPagedKVCacheWrapper=Paths, MultiLevelCascadeAttentionWrapper=Levels)
    monkeypatch.setitem(sys.modules, "flashinfer", fake)


@pytest.mark.usefixtures("flashinfer")
@pytest.mark.parametrize("forest", FORESTS.values(), ids=FORESTS)
def test_flashinfer_is_given_paths_and_levels(forest: Forest) -> None:
    check(flashinfer_decode, forest)
    check(flashinfer_cascade, forest)


@pytest.mark.usefixtures("flashinfer")
def test_cascade_refuses_new_tokens_inside_a_tree() -> None:
    check(flashinfer_decode, GUESSES)
    with pytest.raises(ValueError, match="decode plans only"):
        check(flashinfer_cascade, GUESSES)


# Stand-ins for the two modules of FastTree's checkout: same names and arguments, another attention.
FASTTREE = """
import torch

class FastTreeParams:
    def set_q_tile_sizes(self, sizes): self.TSQs = sizes
    def set_kv_tile_sizes(self, sizes): self.TSKs = sizes
    def set_kv_group_num(self, num): self.kv_group_num = num

def fasttree_preparation(tree, ptrs, batch, num_heads, num_kv_heads, head_dim, splits, few1, few2, params):
    assert (num_heads, num_kv_heads, head_dim, params.kv_group_num) == (8, 2, 16, 4)
    assert params.TSQs == [16, 4] and params.TSKs == [32, 32] and len(splits) == len(few1) == len(few2) == 2
    assert [node.id for node in tree] == list(range(len(tree)))
    for node in tree:
        assert node.num_children == sum(other.parent == node.id for other in tree)
    print("parallelisms:", 1)
    return (tree, ptrs), None

def fasttree_decode(q, k, v, o, tree, ptrs, q_tiles, kv_tiles, scale):
    group = q.shape[1] // k.shape[1]
    for row in range(len(q)):
        seen = torch.cat([torch.arange(ptrs[n.id], ptrs[n.id + 1]) for n in tree if row in n.requests])
        keys, values = (t[seen].repeat_interleave(group, 1) for t in (k, v))
        o[row] = torch.einsum("ht,thd->hd", (torch.einsum("hd,thd->ht", q[row], keys) * scale).softmax(-1), values)
"""
DEFT = """
import torch
from kv_tree_simple import KNOWN

cur_length = 0

def DeFT_preparation(tree, k_cache, subtree_len, mask_len, num_heads, head_dim):
    global cur_length
    assert cur_length == 0
    cur_length = 5
    batch, longest = k_cache.shape[:2]
    assert KNOWN and (subtree_len, mask_len, num_heads, head_dim) == (128, 64, 8, 16)
    entries = []
    for node in tree:
        above, start = node.parent, 0
        while above != -1:
            start, above = start + tree[above].seqlen, tree[above].parent
        entries.append((node.requests, [node.requests[0] * longest + start + i for i in range(node.seqlen)]))
    return (entries,)

def DeFT_decode(q, k, v, o, entries, q_tile, kv_tile, scale, mask_len):
    assert (q_tile, kv_tile, q.dtype) == (16, 32, torch.float16)
    group = q.shape[1] // k.shape[1]
    for row in range(len(q)):
        seen = torch.tensor([slot for rows, slots in entries if row in rows for slot in slots])
        keys, values = (t[seen].float().repeat_interleave(group, 1) for t in (k, v))
        weights = (torch.einsum("hd,thd->ht", q[row].float(), keys) * scale).softmax(-1)
        o[row] = torch.einsum("ht,thd->hd", weights, values).half()
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    inside = tmp_path / "kernel_bench"
    inside.mkdir()
    (inside / "fasttree.py").write_text(FASTTREE)
    (inside / "DeFT.py").write_text(DEFT)
    (inside / "kv_tree_simple.py").write_text("KNOWN = True\n")
    return tmp_path


@pytest.mark.parametrize("forest", [FORESTS["star"], TREE], ids=["star", "levels"])
def test_a_checkout_of_fasttree_is_given_the_tree(
    checkout: Path, forest: Forest, capsys: pytest.CaptureFixture[str]
) -> None:
    check(lambda *how: fasttree(checkout, *how), forest)
    for _ in range(2):
        check(lambda *how: deft_port(checkout, *how), forest, tolerance=2e-3)
    assert capsys.readouterr().out == ""
    assert str(checkout / "kernel_bench") not in sys.path


@pytest.mark.parametrize("adapted", [fasttree, deft_port])
@pytest.mark.parametrize("forest", [FORESTS["two trees"], GUESSES], ids=["two trees", "guesses"])
def test_fasttree_takes_one_tree_that_decodes_at_its_leaves(checkout: Path, adapted: Any, forest: Forest) -> None:
    with pytest.raises(ValueError, match="one tree whose leaves decode one row each"):
        check(lambda *how: adapted(checkout, *how), forest)


def test_what_is_missing_says_so_in_one_line(checkout: Path, tmp_path: Path) -> None:
    assert "--fasttree-path" in str(missing("fasttree", None))
    assert missing("fasttree", tmp_path / "none") == f"no fasttree.py in {tmp_path / 'none'}"
    assert missing("deft_port", checkout) == (None if torch.cuda.is_available() else "needs a GPU to plan on")
    known = peers(None)
    assert known.keys() == {"sdpa", "flex", "flashinfer_decode", "flashinfer_cascade", "fasttree", "deft_port"}
    assert known["sdpa"].missing is None is known["flex"].missing
    if importlib.util.find_spec("flashinfer") is None:
        assert "not installed" in str(known["flashinfer_decode"].missing)
    assert all("\n" not in (peer.missing or "") for peer in known.values())


def test_a_peer_that_is_asked_for_and_missing_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["tree_attention", "--only", "1 trees", "--providers", "fasttree"])
    main()
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("# fasttree: give FastTree's checkout") for line in lines)
    assert any("ValueError: give FastTree's checkout" in line for line in lines)
