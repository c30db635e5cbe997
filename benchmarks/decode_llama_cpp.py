"""llama.cpp as a side of `benchmarks.decode`, where `llama-cpp-python` and `gguf` are installed.

The random Llama is written as a GGUF file of the same precision. The prompt is decoded once, its KV forked with
seq_cp in one unified cache, and all samples decode as one batch. Sampling is left out, which favours it.
"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from benchmarks.decode_sides import Case, Run

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


def installed() -> bool:
    try:
        importlib.import_module("llama_cpp")
        importlib.import_module("gguf")
    except ImportError:
        return False
    return True


def write_gguf(network: PreTrainedModel, path: Path) -> None:
    """The model as llama.cpp reads it: same weights, rotary halves interleaved, no vocabulary."""
    gguf: Any = importlib.import_module("gguf")
    config: Any = network.config
    bf16 = network.dtype == torch.bfloat16
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_file_type(32 if bf16 else 0)
    writer.add_tokenizer_model("no_vocab")
    for name, tensor in network.state_dict().items():
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            tensor = tensor.view(-1, 2, config.head_dim // 2, tensor.shape[1]).transpose(1, 2).reshape(tensor.shape)
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


def llama_cpp_side(path: Path, threads: int, *, flash: bool = False) -> Callable[[Case], Run]:
    """Decodes the model in `path`; greedy cases take the likeliest token, others go on with given ones."""
    lib: Any = importlib.import_module("llama_cpp")
    quiet = lib.llama_log_callback(lambda *_: None)
    lib.llama_log_set(quiet, ctypes.c_void_p(0))
    lib.llama_backend_init()
    model = lib.llama_model_load_from_file(str(path).encode(), lib.llama_model_default_params())
    size = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(model))

    def run(case: Case) -> Run:
        length = len(case.prompt)
        params = lib.llama_context_default_params()
        params.n_ctx = length + case.samples * (case.num_tokens + 1) + 256
        params.n_batch = params.n_ubatch = max(512, case.samples)
        params.n_seq_max = case.samples + 1
        params.n_threads = params.n_threads_batch = threads
        params.kv_unified = True
        params.flash_attn_type = 1 if flash else 0
        context = lib.llama_init_from_model(model, params)
        memory = lib.llama_get_memory(context)
        batch = lib.llama_batch_init(params.n_batch, 0, 1)

        def decode(rows: list[tuple[int, int, int, bool]]) -> None:
            batch.n_tokens = len(rows)
            for i, (token, position, sequence, wanted) in enumerate(rows):
                batch.token[i], batch.pos[i], batch.logits[i] = token, position, wanted
                batch.n_seq_id[i], batch.seq_id[i][0] = 1, sequence
            if lib.llama_decode(context, batch):
                raise RuntimeError("llama_decode failed")

        def likeliest(row: int) -> int:
            return int(np.ctypeslib.as_array(lib.llama_get_logits_ith(context, row), (size,)).argmax())

        greedy = not case.temperature
        given = np.random.default_rng(0).integers(0, size, (case.samples, case.num_tokens)).tolist()
        begin = perf_counter()
        for at in range(0, length, params.n_batch):
            part = case.prompt[at : at + params.n_batch]
            decode([(token, at + i, 0, at + i == length - 1) for i, token in enumerate(part)])
        first = likeliest(-1)
        for sequence in range(1, case.samples):
            lib.llama_memory_seq_cp(memory, 0, sequence, -1, -1)
        tokens = [[first if greedy else given[i][0]] for i in range(case.samples)]
        prefill = perf_counter() - begin
        for step in range(case.num_tokens - 1):
            decode([(tokens[i][-1], length + step, i, True) for i in range(case.samples)])
            for i in range(case.samples):
                tokens[i].append(likeliest(i) if greedy else given[i][step + 1])
        seconds = perf_counter() - begin
        lib.llama_batch_free(batch)
        lib.llama_free(context)
        return Run(seconds, prefill, tokens)

    run.keep = quiet  # type: ignore[attr-defined]
    return run
