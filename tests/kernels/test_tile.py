"""Which tiles a card gets, and what no tile and no layer may ask for."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("triton")

from treereason.kernels.gpu import tile
from treereason.kernels.gpu.tile import Tile, arch_of
from treereason.kernels.options import AttentionOptions


def card_with(shared: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """An NVIDIA card whose programs may use so many bytes of shared memory."""
    monkeypatch.setattr(torch.version, "hip", None)
    utils = SimpleNamespace(get_device_properties=lambda index: {"max_shared_mem": shared})  # noqa: ARG005
    runtime = SimpleNamespace(driver=SimpleNamespace(active=SimpleNamespace(utils=utils)))
    monkeypatch.setattr(tile, "triton", SimpleNamespace(runtime=runtime))


@pytest.mark.parametrize(
    ("shared", "arch"), [(232_448, "sm_90"), (166_912, "sm_80"), (102_400, "sm_120"), (101_376, "sm_120")]
)
def test_shared_memory_decides_the_tiles_of_a_card(shared: int, arch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    card_with(shared, monkeypatch)
    assert arch_of("cuda:0") == arch


def test_a_card_with_too_little_shared_memory_is_refused_with_both_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    card_with(65_536, monkeypatch)
    with pytest.raises(ValueError, match=r"cuda:0: a program may use 65,536 bytes.*need 101,376"):
        arch_of("cuda:0")


def test_a_tile_holds_one_two_or_four_pages() -> None:
    assert [Tile(16, 64, 4, 3).pages(size) for size in (64, 32, 16)] == [1, 2, 4]
    for size in (8, 24, 128):
        with pytest.raises(ValueError, match=f"64 tokens.*{size} tokens"):
            Tile(16, 64, 4, 3).pages(size)


@pytest.mark.parametrize("scale", [0.0, -0.1, math.nan])
def test_a_scale_that_is_not_above_0_is_refused(scale: float) -> None:
    with pytest.raises(ValueError, match=f"scale={scale}"):
        AttentionOptions(scale)
