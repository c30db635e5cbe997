"""What makes a loaded model quick on its device: packed linear layers, compiled attention, fused modules."""

from __future__ import annotations

import logging
from typing import Any

from torch import nn

from treereason.engine.model.compiled import Compiled, compiled_attends
from treereason.engine.model.fuse import fuse
from treereason.engine.model.fused_kernels import FusedKernels, cpu_kernels, gpu_kernels
from treereason.engine.model.fused_modules import FusedAttention, FusedGate, FusedNorm
from treereason.engine.model.language_model import LanguageModel
from treereason.engine.model.packed import CompiledLinear, LinearPart, join_linears, pack_linears
from treereason.engine.model.whole_layers import know_whole_layers
from treereason.text import printable

_log = logging.getLogger(__name__)


def make_quick(model: LanguageModel, network: Any, *, fused: bool = True, cpu: Compiled = "auto") -> None:
    """Change the network for good: for inference only, and where it is. network: that of the model.

    fused, cpu: as in `load_model`, and raises what compiled_attends does.
    """
    if model.device.type != "cpu":
        model.fused = fuse_known(model.name, network, gpu_kernels()) if fused else "off"
        return
    if compiled_attends(network, cpu):
        model.attention = "compiled"
        model.fused = fuse_known(model.name, network, cpu_kernels()) if fused else "off"
        for module in list(network.modules()):
            if isinstance(module, FusedAttention):
                join_linears(module, "q_proj", "k_proj", "v_proj")
            elif isinstance(module, FusedGate):
                join_linears(module, "gate_proj", "up_proj")
    pack_linears(network, compiled=model.attention == "compiled")
    know_whole_layers(network)
    model.same_bits = model.attention == "compiled" and all_by_row(network)


def fuse_known(name: str, network: Any, kernels: FusedKernels) -> str:
    """Let the network's modules that are known run as one kernel each. Returns which, in words.

    A warning tells what is not fused. network: of a LanguageModel.
    """
    fusion = fuse(network, kernels)
    if not fusion.counts and not fusion.kept:
        what = f"no fused kernels are known for the modules of {type(network).__name__}"
        _log.warning("model.name=%s: %s: a decode step launches more, and takes longer", name, what)
    for reason in fusion.kept:
        _log.warning("model.name=%s: a step takes longer: %s", name, printable(reason))
    return str(fusion)


def all_by_row(network: Any) -> bool:
    """Whether each module that computes is known to give a row the same bits whatever other rows there are."""
    known = (CompiledLinear, FusedNorm, FusedGate, nn.Embedding, LinearPart)
    return all(
        isinstance(module, known) for module in network.modules() if any(True for _ in module.parameters(recurse=False))
    )
