"""Writes small models as GGUF files, as llama.cpp's converter does: written apart from what reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import torch
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config, Qwen3Config

WIDTH = 64
MERGES = ["l l", "h e", "he ll", "Ġ Ġ", "Ġ a", "1 2"]
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TOKENS = [
    *CONTROL,
    *sorted(pre_tokenizers.ByteLevel.alphabet()),
    *(merge.replace(" ", "") for merge in MERGES),
    "<note>",
]
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CONFIGS: dict[str, Any] = {"llama": LlamaConfig, "qwen2": Qwen2Config, "qwen3": Qwen3Config}
_PARTS = {
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}  # fmt: skip


def random_network(kind: str, **changes: Any) -> Any:
    """A float32 network of transformers with two layers."""
    torch.manual_seed(0)
    values = {
        "vocab_size": len(TOKENS), "hidden_size": WIDTH, "intermediate_size": 96, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 4096,
        "tie_word_embeddings": False, "initializer_range": 0.3,
    }  # fmt: skip
    auto: Any = AutoModelForCausalLM
    network = auto.from_config(CONFIGS[kind](**{**values, **changes}))
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if name.endswith(("norm.weight", "bias")):
                weight += 0.3 * torch.randn_like(weight)
    return network.eval()


def write_gguf(
    path: Path,
    kind: str,
    network: Any,
    stored: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32,
    **changes: Any,
) -> None:
    """Write a network. stored: how its matrices are. changes: of metadata, dots as "__"; None leaves a key out."""
    config = network.config
    writer = gguf.GGUFWriter(path, kind)
    metadata: dict[str, Any] = {
        f"{kind}.block_count": config.num_hidden_layers,
        f"{kind}.context_length": config.max_position_embeddings,
        f"{kind}.embedding_length": config.hidden_size,
        f"{kind}.feed_forward_length": config.intermediate_size,
        f"{kind}.attention.head_count": config.num_attention_heads,
        f"{kind}.attention.head_count_kv": config.num_key_value_heads,
        f"{kind}.attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        f"{kind}.rope.freq_base": float(config.rope_parameters["rope_theta"]),
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": TOKENS,
        "tokenizer.ggml.token_type": [3] * len(CONTROL) + [1] * (len(TOKENS) - len(CONTROL) - 1) + [4],
        "tokenizer.ggml.merges": MERGES,
        "tokenizer.ggml.eos_token_id": 0,
        "tokenizer.chat_template": TEMPLATE,
    } | {key.replace("__", "."): value for key, value in changes.items()}
    if kind == "qwen3":
        metadata |= dict.fromkeys((f"{kind}.attention.key_length", f"{kind}.attention.value_length"), config.head_dim)
    for key, value in metadata.items():
        if isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, float):
            writer.add_float32(key, value)
        elif isinstance(value, str):
            writer.add_string(key, value)
        elif value is not None:
            writer.add_array(key, value)
    for name, weight in tensors(kind, network).items():
        values = weight.detach().float().numpy()
        if values.ndim == 2 and stored != gguf.GGMLQuantizationType.F32:
            writer.add_tensor(name, gguf.quantize(values, stored), raw_dtype=stored)
        else:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def tensors(kind: str, network: Any) -> dict[str, torch.Tensor]:
    """A network's tensors by their names in the file, and in ggml's order of rows."""
    found = {}
    heads = {"attn_q": network.config.num_attention_heads, "attn_k": network.config.num_key_value_heads}
    for name, weight in network.state_dict().items():
        whole, _, suffix = name.rpartition(".")
        if whole.startswith("model.layers."):
            number, _, part = whole.removeprefix("model.layers.").partition(".")
            if kind == "llama" and _PARTS[part] in heads:  # row i of both halves lie together
                weight = torch.cat(
                    [
                        torch.stack([head[: len(head) // 2], head[len(head) // 2 :]], dim=1).flatten(0, 1)
                        for head in weight.chunk(heads[_PARTS[part]])
                    ]
                )
            found[f"blk.{number}.{_PARTS[part]}.{suffix}"] = weight
        elif whole == "model.embed_tokens":
            found["token_embd.weight"] = weight
        elif whole == "model.norm":
            found["output_norm.weight"] = weight
        elif not network.config.tie_word_embeddings:
            found["output.weight"] = weight
    rope = network.config.rope_parameters
    if rope["rope_type"] == "llama3":
        plain = rope["rope_theta"] ** -(torch.arange(0, network.config.head_dim, 2) / network.config.head_dim)
        found["rope_freqs.weight"] = plain / network.model.rotary_emb.inv_freq
    return found
