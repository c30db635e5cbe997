"""Whether a model on a CPU uses the compiled kernels, and why not."""

from __future__ import annotations

import logging
from typing import Any, Literal

from treereason.core import UserError
from treereason.kernels.cpu.compiled_backend import HEAD_DIM_STEP, can_attend
from treereason.kernels.cpu.library import SUFFIXES, CannotCompile, prepare

Compiled = Literal["auto", "torch", "compiled"]
"""auto: compiled kernels where they can be had. torch: torch's operations alone. compiled: refuse to do without."""
_log = logging.getLogger(__name__)


def compiled_attends(network: Any, cpu: Compiled) -> bool:
    """Whether the network's attention runs compiled; compiles it now if it never was on this machine.

    Raises UserError for cpu "compiled" where it cannot.
    """
    if cpu == "torch":
        return False
    config = network.config.get_text_config()
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    try:
        if can_attend(network.dtype, head_dim):
            prepare()
            return True
        reason = f"heads of {head_dim} in {network.dtype}; it computes multiples of {HEAD_DIM_STEP} in "
        reason += ", ".join(SUFFIXES.values())
    except CannotCompile as error:
        reason = str(error)
    if cpu == "compiled":
        raise UserError(f"engine.cpu=compiled: {reason}; use engine.cpu=auto")
    _log.warning("a step takes longer: no compiled CPU kernels: %s", reason)
    return False
