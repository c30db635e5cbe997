"""What a layer asks of attention beside its tensors, and the call that every implementation answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch


@dataclass(frozen=True)
class AttentionOptions:
    """How one layer turns scores into weights. The same for all rows of a call.

    scale: factor on q·k, usually head_dim ** -0.5. Not above 0 raises ValueError: kernels find the largest score before
        they scale.
    window: tokens a row looks back, its own included: it sees a token only when row position - token position < window.
        None for all.
    softcap: scores become softcap * tanh(score / softcap), after scaling and before hidden tokens leave (Gemma 2,
        arXiv 2408.00118, section 2). None for scores as they are.
    sinks: [Hq] one logit per query head, any float dtype, natural log, on the device of q. It joins the softmax and has
        no value (gpt-oss, arXiv 2508.10925, section 2; the name is StreamingLLM's, arXiv 2309.17453). None for no sink.
    """

    scale: float
    window: int | None = None
    softcap: float | None = None
    sinks: torch.Tensor | None = None

    def __post_init__(self) -> None:
        if not self.scale > 0:
            raise ValueError(f"scale={self.scale}: attention needs a factor above 0")


class PlannedAttention(Protocol):
    """Attention of one planned step, called once per layer.

    q: [N, Hq, D]; N rows in the plan's order. k, v: [num_slots, Hkv, D] the pools of one layer, of q's dtype, this
    step's own keys and values stored already; Hkv divides Hq, and query heads [h * Hq / Hkv, (h + 1) * Hq / Hkv) read
    KV head h.

    Returns out [N, Hq, D] in q's dtype, and lse [N, Hq] float32, the natural log of the sum of exponentials, sinks
    included.
    """

    def __call__(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, options: AttentionOptions
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(out, lse)."""
        ...
