"""Loads a model from a folder or hub id: checked before, while and after transformers reads it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig
from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING
from transformers.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled

from treereason.core import UserError
from treereason.engine.model.blaming import blaming
from treereason.engine.model.compiled import Compiled
from treereason.engine.model.gates import (
    check_architecture,
    check_checkpoint,
    check_dtypes,
    check_loaded,
    check_quantisation,
    check_tensors,
)
from treereason.engine.model.generation_rules import rules_left_out
from treereason.engine.model.gguf_file import is_gguf
from treereason.engine.model.gguf_load import load_gguf
from treereason.engine.model.hub import only_cached
from treereason.engine.model.language_model import LanguageModel
from treereason.engine.model.make_quick import make_quick
from treereason.engine.model.panics import silent_panic
from treereason.engine.model.rehearsal import check_template, rehearse_tokenizer
from treereason.engine.model.self_check import TOLERANCE, self_check
from treereason.engine.model.shipped import EMBEDDED as EMBEDDED
from treereason.engine.model.shipped import SHIPPED
from treereason.engine.model.smollm2 import located
from treereason.engine.model.stored_tensors import stored_tensors
from treereason.text import from_home

QUIET = (
    "huggingface_hub",
    "transformers.generation.configuration_utils",
    "transformers.modeling_rope_utils",
    "transformers.quantizers.auto",
)
_log = logging.getLogger(__name__)
PROBE = "The 1st 23, é € 😀\n\tx"  # a tokenizer that panics does so before the run


def resolve(name: str) -> str:
    """Folder of a shipped model, the package's file for "smollm2", otherwise the name as given."""
    return str(SHIPPED[name].folder) if name in SHIPPED else located(name)


def load_model(
    name: str, *, style: str, dtype: str = "auto", device: str = "auto", fused: bool = True, cpu: Compiled = "auto"
) -> LanguageModel:
    """Load from a folder, GGUF file or hub id. Raises UserError for what cannot be served.

    Of folders and hub ids safetensors only, and no remote code. dtype "auto" is the checkpoint's own, of a GGUF file as
    `gguf_dtype` says; device "auto" is a CUDA device when there is one. fused: let modules that are known run as one
    kernel. cpu: whether a CPU uses what is compiled for it.
    """
    location = resolve(name)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device != "cpu" and not torch.cuda.is_available():
        raise UserError(f"model.device={device}: torch finds no such device; use model.device=cpu")
    with _quiet():
        return _load(name, location, style=style, dtype=dtype, device=device, fused=fused, cpu=cpu)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide progress bars and long reports of transformers: our one line says the same."""
    logs = [logging.getLogger(name) for name in QUIET]
    levels = [log.level for log in logs]
    report = logging.getLogger("transformers.modeling_utils")  # at a level of its own it reports on sharding
    silent, bar = report.disabled, is_progress_bar_enabled()
    for log in logs:
        log.setLevel(logging.ERROR)
    report.disabled = True
    disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)
        report.disabled = silent
        if bar:
            enable_progress_bar()  # type: ignore[no-untyped-call]


def _load(
    name: str, location: str, *, style: str, dtype: str, device: str, fused: bool, cpu: Compiled
) -> LanguageModel:
    if name not in SHIPPED:
        check_checkpoint(name)
    if is_gguf(path := Path(from_home(location))):
        network, tokenizer = load_gguf(name, path, style=style, dtype=dtype, device=device, probe=PROBE)
    else:
        network, tokenizer = _load_folder(name, location, style=style, dtype=dtype, device=device)
    if str(network.dtype).removeprefix("torch.") not in TOLERANCE:
        raise UserError(f"model.name={name}: its weights are {network.dtype}; choose model.dtype={'|'.join(TOLERANCE)}")
    if device != "cpu":
        torch.cuda.set_device(network.device)  # Triton launches on the current one
    with blaming(name, "it loads and does not compute"):
        model = LanguageModel(network, tokenizer, style, name)
        make_quick(model, network, fused=fused, cpu=cpu)
        self_check(name, model)
    if rules := rules_left_out(model.generation):
        _log.warning("model.name=%s: its generation_config.json asks for what is left out here: %s", name, rules)
    return model


def _load_folder(name: str, location: str, *, style: str, dtype: str, device: str) -> tuple[Any, Any]:
    """The network, on its device, and the tokenizer of a checked folder, or of a hub id. Raises UserError."""
    if name not in SHIPPED and (tables := Path(location) / "tokenizer.json").is_file():
        rehearse_tokenizer(name, tables, PROBE)
    away = not Path(location).is_dir()
    plain = {"trust_remote_code": False, "local_files_only": away and only_cached(location)}
    with blaming(name, "its config or tokenizer cannot be loaded"), silent_panic():
        config = AutoConfig.from_pretrained(location, **plain)
        tokenizer = AutoTokenizer.from_pretrained(location, **plain)
        tokenizer.decode(tokenizer(PROBE)["input_ids"], skip_special_tokens=True)
    check_template(name, tokenizer, style, PROBE)
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise UserError(f"model.name={name}: {config.model_type} is not a causal language model of transformers")
    network_class: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    check_architecture(name, network_class, config)
    quantisation = getattr(config, "quantization_config", None)
    check_quantisation(name, quantisation)
    stored = stored_tensors(Path(location)) if Path(location).is_dir() else {}
    if stored:
        with blaming(name, "its config.json builds no model"), torch.device("meta"):
            skeleton = network_class(config)
        check_tensors(name, skeleton, stored, quantised=bool(quantisation))
    if (Path(location) / "generation_config.json").exists():
        with blaming(name, "its generation_config.json cannot be loaded"):
            GenerationConfig.from_pretrained(location)  # which a model leaves out in silence when it is broken
    with blaming(name, "transformers cannot load it"):
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            location,
            dtype=dtype,
            use_safetensors=True,
            **plain,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # refused by name below
            device_map={"": device} if quantisation else None,  # may not be moved afterwards
        )
    network, info = loaded
    check_loaded(name, network.state_dict(), info, quantised=bool(quantisation))
    if isinstance(quantisation, dict):
        known = quantisation.get("quant_method") in AUTO_QUANTIZATION_CONFIG_MAPPING  # others are left out in silence
        check_dtypes(name, stored, quantised=known)
    return network if quantisation else network.to(device), tokenizer
