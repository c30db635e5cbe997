"""A model out of a GGUF file: the package gguf turns blocks into numbers, transformers builds the network of them.

transformers' own `gguf_file=` makes the same weights, bit for bit. It takes 20 s where this takes 2, cuts digits apart
in another way than the model's tokenizer, and leaves out in silence what it does not know (docs/log.md).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig, GenerationConfig

from treereason.core import UserError
from treereason.core.given_file import file_name, open_regular, readable
from treereason.engine.model.blaming import blaming
from treereason.engine.model.gates import check_loaded
from treereason.engine.model.gguf_file import STORED, GgufFile, GgufTensor, read_gguf
from treereason.engine.model.gguf_layout import ROPE_FACTORS, Layout, check_gguf
from treereason.engine.model.gguf_tokenizer import gguf_tokenizer
from treereason.engine.model.panics import silent_panic
from treereason.engine.model.rehearsal import check_template

_NUMBERS = {stored: number for number, (stored, _, _) in STORED.items()}
_FLOATS = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_BLOCKS_TOGETHER = 4096  # at most, as one row: gguf takes 16 rows at a time, which is slow where rows are short


def load_gguf(name: str, path: Path, *, style: str, dtype: str, device: str, probe: str) -> tuple[Any, Any]:
    """The network, on its device, and the tokenizer of a file. Raises UserError for what cannot be served.

    dtype: as `gguf_dtype` takes it. probe: a text that the tokenizer and the chat template are tried on.
    """
    file = read_gguf(path)
    layout = check_gguf(name, file)
    with blaming(name, "its tokenizer"), silent_panic():
        tokenizer, ends = gguf_tokenizer(file.metadata)
        tokenizer.decode(tokenizer(probe)["input_ids"], skip_special_tokens=True)
    check_template(name, tokenizer, style, probe)
    chosen = gguf_dtype(file, dtype, device)
    tensors, factors = _tensors(file, layout, chosen)
    with blaming(name, "transformers cannot build it"):
        config: Any = AutoConfig.for_model(layout.model_type, **layout.config)
        network_class: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
        loaded: Any = network_class.from_pretrained(
            None, config=config, state_dict=tensors, dtype=chosen, output_loading_info=True
        )
    network, info = loaded
    check_loaded(name, network.state_dict(), info, quantised=False)
    if factors is not None:
        network.model.rotary_emb.inv_freq /= factors
    network.generation_config = GenerationConfig(eos_token_id=ends)  # type: ignore[no-untyped-call]
    return network.to(device), tokenizer


def gguf_dtype(file: GgufFile, dtype: str, device: str) -> torch.dtype:
    """What a network computes in. dtype "auto": bfloat16 where the device has products of it, else float32.

    But a file whose values are all float32 stays so.
    """
    if dtype != "auto":
        chosen: torch.dtype = getattr(torch, dtype)
        return chosen
    if {tensor.stored for tensor in file.tensors.values()} == {"F32"}:
        return torch.float32
    quick = torch.cpu._is_avx512_bf16_supported() if device == "cpu" else torch.cuda.is_bf16_supported()
    return torch.bfloat16 if quick else torch.float32


def _tensors(file: GgufFile, layout: Layout, dtype: torch.dtype) -> tuple[dict[str, torch.Tensor], torch.Tensor | None]:
    """All tensors by their names in transformers, and what divides the frequencies of RoPE, if the file has that."""
    tensors: dict[str, torch.Tensor] = {}
    factors = None
    with readable(file.path), open_regular(file.path) as content:
        for gguf, name in layout.names.items():
            tensor = _read(content, file.path, file.tensors[gguf])
            if gguf in layout.num_heads:
                tensor = _halves(tensor, layout.num_heads[gguf])
            tensors[name] = tensor.to(dtype)
        if ROPE_FACTORS in file.tensors:
            factors = _read(content, file.path, file.tensors[ROPE_FACTORS]).float()
    return tensors, factors


def _read(content: BinaryIO, path: Path, tensor: GgufTensor) -> torch.Tensor:
    content.seek(tensor.start)
    data = np.fromfile(content, np.uint8, tensor.num_bytes)
    if data.size != tensor.num_bytes:
        raise UserError(f"{file_name(path)}: was cut off while it was read")
    if tensor.stored in _FLOATS:
        return torch.from_numpy(data).view(_FLOATS[tensor.stored]).reshape(tensor.shape)
    from gguf import GGMLQuantizationType, dequantize

    number = _NUMBERS[tensor.stored]
    blocks = data.reshape(-1, STORED[number][2])
    joined = math.gcd(len(blocks), _BLOCKS_TOGETHER)
    with np.errstate(all="ignore"):  # of scales that are not finite: the self-check finds them
        values = dequantize(blocks.reshape(len(blocks) // joined, -1), GGMLQuantizationType(number))
    return torch.from_numpy(values).reshape(tensor.shape)


def _halves(rows: torch.Tensor, num_heads: int) -> torch.Tensor:
    """Rows of queries or keys from ggml's order, pairs that rotate together, to transformers': first all first ones."""
    return rows.view(num_heads, -1, 2, *rows.shape[1:]).transpose(1, 2).reshape(rows.shape)
