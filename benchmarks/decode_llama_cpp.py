"""llama.cpp as a side of `benchmarks.decode`.

The model is written as a GGUF file of its own precision; llama_cpp_q4_1 reads the published file. What is shared is
decoded once, its KV forked with seq_cp in one unified cache, and all branches decode as one batch. KV is f16, flash
attention off, which is quicker here. Sampling is left out, which favours it.
"""

from __future__ import annotations

import ctypes
import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.decode_case import Case, Job, Model, Side

PACKAGES = ("llama-cpp-python",)
ROWS = 512
TENSORS = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def side(model: Model) -> Side:
    """The same weights."""
    path = model.folder / "model.gguf"
    if not path.exists():
        write_gguf(model.folder, path)
    return _side(path, model.threads)


def q4_1(model: Model) -> Side:
    """The published file of SmolLM2."""
    return _side(model.folder / "published.gguf", model.threads)


def write_gguf(folder: Path, path: Path) -> None:
    """A Llama as llama.cpp reads it: same weights, rotary halves interleaved, no vocabulary."""
    gguf: Any = importlib.import_module("gguf")
    config: Any = json.loads((folder / "config.json").read_text())
    bf16 = config["dtype"] == "bfloat16"
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(32 if bf16 else 0)
    writer.add_tokenizer_model("no_vocab")
    for name, tensor in importlib.import_module("safetensors.torch").load_file(folder / "model.safetensors").items():
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            halves = tensor.view(-1, 2, config["head_dim"] // 2, tensor.shape[1])
            tensor = halves.transpose(1, 2).reshape(tensor.shape)
        _add(gguf, writer, _gguf_name(name), tensor, bf16 and tensor.dim() > 1)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add(gguf: Any, writer: Any, name: str, tensor: torch.Tensor, bf16: bool) -> None:
    if bf16:
        raw = tensor.contiguous().view(torch.int16).numpy().view(np.uint8)
        writer.add_tensor(name, raw, raw_dtype=gguf.GGMLQuantizationType.BF16)
    else:
        writer.add_tensor(name, tensor.float().contiguous().numpy())


def _gguf_name(name: str) -> str:
    outer = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
    if name in outer or name == "lm_head.weight":
        return outer.get(name, "output.weight")
    _, _, layer, inner = name.split(".", 3)
    return f"blk.{layer}.{TENSORS[inner.removesuffix('.weight')]}.weight"


def _side(path: Path, threads: int) -> Side:
    lib: Any = importlib.import_module("llama_cpp")
    quiet = lib.llama_log_callback(lambda *_: None)
    lib.llama_log_set(quiet, ctypes.c_void_p(0))
    lib.llama_backend_init()
    model = lib.llama_model_load_from_file(str(path).encode(), lib.llama_model_default_params())
    size = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(model))

    def ready(case: Case) -> Job:
        params = lib.llama_context_default_params()
        params.n_ctx = case.kv_tokens + 2 * case.most_branches + 256
        params.n_batch = params.n_ubatch = ROWS
        params.n_seq_max = case.most_branches
        params.n_threads = params.n_threads_batch = threads
        params.kv_unified = True
        params.flash_attn_type = 0
        context = lib.llama_init_from_model(model, params)
        memory = lib.llama_get_memory(context)
        batch = lib.llama_batch_init(ROWS, 0, 1)
        draw = np.random.default_rng(0)

        def feed(sequences: list[int], texts: list[tuple[int, ...]], begin: int) -> list[int]:
            """Decode a text of each sequence from one position on; returns the next tokens."""
            rows = [
                (token, begin + i, sequence, i == len(text) - 1)
                for sequence, text in zip(sequences, texts, strict=True)
                for i, token in enumerate(text)
            ]
            following: list[int] = []
            for part in (rows[at : at + ROWS] for at in range(0, len(rows), ROWS)):
                batch.n_tokens = len(part)
                for i, (token, position, sequence, wanted) in enumerate(part):
                    batch.token[i], batch.pos[i], batch.logits[i] = token, position, wanted
                    batch.n_seq_id[i], batch.seq_id[i][0] = 1, sequence
                if lib.llama_decode(context, batch):
                    raise RuntimeError("llama_decode failed")
                asked = [i for i, row in enumerate(part) if row[3]]
                if case.temperature:
                    lib.llama_synchronize(context)
                    following += draw.integers(0, size, len(asked)).tolist()
                else:
                    logits = [lib.llama_get_logits_ith(context, i) for i in asked]
                    following += [int(np.ctypeslib.as_array(row, (size,)).argmax()) for row in logits]
            return following

        def fork(sequences: list[int], branches: int) -> list[int]:
            """Each sequence and copies of it, in order."""
            free = iter(range(len(sequences), len(sequences) * branches))
            found = []
            for sequence in sequences:
                found.append(sequence)
                for copy in (next(free) for _ in range(branches - 1)):
                    lib.llama_memory_seq_cp(memory, sequence, copy, -1, -1)
                    found.append(copy)
            return found

        def job() -> list[list[int]]:
            following = feed([0], [case.shared], 0)
            sequences, position = fork([0], len(case.own)), len(case.shared)
            if case.own[0]:
                following = feed(sequences, list(case.own), position)
                position += len(case.own[0])
            decoded: list[list[int]] = []
            texts: list[list[int]] = []
            for depth, (branches, tokens) in enumerate(case.levels):
                if depth:
                    following = feed(sequences, [(taken[-1],) for taken in texts], position - 1)
                sequences = fork(sequences, branches)
                following = [token for token in following for _ in range(branches)]
                texts = [[token] for token in following]
                for step in range(tokens - 1):
                    following = feed(sequences, [(token,) for token in following], position + step)
                    for text, token in zip(texts, following, strict=True):
                        text.append(token)
                position += tokens
                decoded += texts
            lib.llama_batch_free(batch)
            lib.llama_free(context)
            return decoded

        return job

    ready.keep = quiet  # type: ignore[attr-defined]
    return ready
