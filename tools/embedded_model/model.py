"""The model that is trained, its optimizers and its loss, and the files it is shipped as."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM

from tools.embedded_model.data import IGNORED, MicroBatch
from tools.embedded_model.settings import ModelShape
from tools.embedded_model.tokenizer import BOS, EOS, PAD, build_tokenizer, vocabulary
from treereason.core import UserError

_WARM_UP_STEPS = 100
_WARM_UP_SHARE = 0.1
_LAST_LR = 0.02


def build_model(shape: ModelShape, num_tokens: int = len(vocabulary())) -> LlamaForCausalLM:
    """A randomly initialised decoder from torch's global generator; tied embeddings, rotary base 1e6.

    num_tokens: size of the vocabulary, whose first ids are <pad>, <bos> and <eos>. The high base
    keeps attention by content alike at all distances, which counting digits needs.
    """
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=num_tokens,
            hidden_size=shape.width,
            intermediate_size=shape.feed_forward,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.kv_heads,
            head_dim=shape.head_width,
            max_position_embeddings=shape.positions,
            rope_parameters={"rope_type": "default", "rope_theta": 1e6},
            tie_word_embeddings=True,
            bos_token_id=BOS,
            eos_token_id=EOS,
            pad_token_id=PAD,
        )
    )


def build_optimizers(model: LlamaForCausalLM, learning_rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for embeddings and norms.

    Muon: Keller Jordan, https://kellerjordan.github.io/posts/muon; its update is scaled to the size of AdamW's, so
    that one learning rate serves both (Liu et al., arXiv:2502.16982).
    """
    inside = {name: p for name, p in model.named_parameters() if p.ndim == 2 and "layers." in name}
    others = [p for name, p in model.named_parameters() if name not in inside]
    return [
        torch.optim.Muon(
            inside.values(), lr=learning_rate, momentum=0.95, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"
        ),
        torch.optim.AdamW(others, lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def learning_rate_factor(step: int, elapsed: float, decay: float) -> float:
    """Factor in (0, 1] of the learning rate: a linear rise, flat, then linear down over the last share `decay`.

    `elapsed` is the share of the run's time that is over; the time decides, so the decay ends with the budget. The
    rise takes 100 steps, or a tenth of the time where that is shorter.
    """
    falling = 1 - (1 - _LAST_LR) * (min(elapsed, 1.0) - (1 - decay)) / decay
    rising = max((step + 1) / _WARM_UP_STEPS, elapsed / _WARM_UP_SHARE)
    return min(rising, 1.0, falling)


def answer_loss(model: LlamaForCausalLM, batch: MicroBatch) -> torch.Tensor:
    """Mean cross-entropy in nats over the targets of a micro-batch, a scalar.

    Without a mask of its own, padding stands at the right, where causal attention never looks from a real token.
    """
    logits = model(input_ids=batch.ids, position_ids=batch.positions, attention_mask=batch.mask, use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORED)


def load_weights(model: LlamaForCausalLM, folder: Path) -> None:
    """Take the weights of a model of the same shape, which may know fewer tokens: the first ones.

    Raises UserError for another shape.
    """
    saved = load_file(folder / "model.safetensors")
    own = model.state_dict()
    with torch.no_grad():
        for name, tensor in saved.items():
            if name not in own or own[name].shape[1:] != tensor.shape[1:] or len(own[name]) < len(tensor):
                raise UserError(f"start={folder}: {name} has the shape {tuple(tensor.shape)}, not that of this model")
            own[name][: len(tensor)] = tensor.float()


def save_model(model: LlamaForCausalLM, folder: Path, build: Callable[[int], Any] = build_tokenizer) -> None:
    """Write config.json, generation_config.json, model.safetensors and the tokenizer's files.

    build: makes the tokenizer from the number of positions.

    The weights are stored as float16 while the config says float32: half the size, and from_pretrained widens them.
    """
    tensors = {name: tensor.half() for name, tensor in model.state_dict().items() if name != "lm_head.weight"}
    model.save_pretrained(folder, state_dict=tensors)
    build(model.config.max_position_embeddings).save_pretrained(folder)
