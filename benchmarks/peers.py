"""Attention of other projects as providers of the benchmark, found where installed and imported when asked for."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks import peers_fasttree
from benchmarks.peers_flashinfer import flashinfer_cascade, flashinfer_decode
from benchmarks.peers_torch import flex, sdpa
from treereason.kernels.plan import Plan

Run = Callable[[], torch.Tensor]
Prepare = Callable[[Plan, torch.Tensor, torch.Tensor, torch.Tensor, float], Run]


class Peer(NamedTuple):
    """prepare: from (plan, q, k, v, scale) a call that returns [N, Hq, D]. missing: why it cannot run here, if so."""

    prepare: Prepare
    missing: str | None = None


def peers(fasttree_checkout: Path | None) -> dict[str, Peer]:
    """All of them by name, those that cannot run here included."""
    flashinfer = None
    if importlib.util.find_spec("flashinfer") is None:
        flashinfer = "FlashInfer is not installed (pip install flashinfer-python)"
    elif not torch.cuda.is_available():
        flashinfer = "needs a GPU"
    found = {
        "sdpa": Peer(sdpa),
        "flex": Peer(flex),
        "flashinfer_decode": Peer(flashinfer_decode, flashinfer),
        "flashinfer_cascade": Peer(flashinfer_cascade, flashinfer),
    }
    for name, prepare in (("fasttree", peers_fasttree.fasttree), ("deft_port", peers_fasttree.deft_port)):
        checkout = fasttree_checkout or Path()
        found[name] = Peer(partial(prepare, checkout), peers_fasttree.missing(name, fasttree_checkout))
    return found
