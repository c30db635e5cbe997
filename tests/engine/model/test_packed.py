"""Packed linear layers compute what plain ones do, tied embeddings keep working, and nothing else is touched."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from treereason.engine.model.packed import PackedLinear, pack_linears

pytestmark = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(),  # type: ignore[no-untyped-call]
    reason="torch without oneDNN",
)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("rows", [1, 5, 130])
def test_same_products(bias: bool, rows: int) -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(70, 33, bias=bias))
    packed = copy.deepcopy(plain)
    pack_linears(packed)
    pack_linears(packed)  # once is enough, twice does no harm
    assert type(packed[0]) is PackedLinear
    x = torch.randn(1, rows, 70)
    with torch.inference_mode():
        torch.testing.assert_close(packed(x), plain(x), atol=1e-5, rtol=1e-5)
        assert packed(x[:, :0]).shape == (1, 0, 33)


def test_tied_embeddings_keep_their_weights() -> None:
    embed, head = nn.Embedding(40, 8), nn.Linear(8, 40, bias=False)
    head.weight = embed.weight
    want = embed.weight.detach().clone()
    pack_linears(nn.ModuleList([embed, head]))
    assert torch.equal(embed.weight, want)
    assert head.weight.isnan().all()
    with torch.inference_mode():
        torch.testing.assert_close(head(torch.eye(8)), want.T)


def test_other_layers_stay() -> None:
    network = nn.Sequential(nn.Linear(4, 4, dtype=torch.float64), nn.LayerNorm(4))
    pack_linears(network)
    assert type(network[0]) is nn.Linear
    assert not network[0].weight.isnan().any()
