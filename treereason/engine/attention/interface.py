"""transformers' attention interface: a model whose attention is called NAME hands every layer's rows to the step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch

from treereason.kernels.options import AttentionOptions

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NAME = "treereason"


class AttentionStep(Protocol):
    """What a model's forward carries to its attention layers."""

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, options: AttentionOptions
    ) -> torch.Tensor:
        """Store key and value [N, Hkv, D], and attend: query [N, Hq, D] -> [N, Hq, D], in the query's dtype."""
        ...


@runtime_checkable
class RotatingStep(AttentionStep, Protocol):
    """A step that can also do what comes between a layer's projections and its attention, in fewer launches."""

    def rotate_and_attend(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        rotation: tuple[torch.Tensor, torch.Tensor],
        options: AttentionOptions,
    ) -> torch.Tensor:
        """As `attend`, of query and key that are not rotated yet.

        rotation: cosines and sines of each row's angles, [N, D] each in query's dtype, both halves of a head.
        """
        ...


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
    """One layer: query [1, Hq, N, D], key and value [1, Hkv, N, D] -> [1, N, Hq, D], and no weights.

    The names are transformers'. s_aux: [Hq], attention sinks. Raises ValueError without a step.
    """
    if step is None:
        raise ValueError("treereason attention needs step=EagerStep among the model's keyword arguments")
    assert attention_mask is None
    layer = module.layer_idx
    assert isinstance(layer, int)
    q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))  # [N, H, D]
    options = AttentionOptions(scale=scaling, window=sliding_window, softcap=softcap, sinks=s_aux)
    return step.attend(layer, q, k, v, options)[None], None


def serve(network: PreTrainedModel) -> None:
    """Let the network's attention be the tree's from now on."""
    from transformers import AttentionInterface  # seconds of imports, which the shipped model does without

    AttentionInterface.register(NAME, tree_attention)
    network.set_attn_implementation(NAME)
