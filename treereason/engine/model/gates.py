"""What the engine can serve: a gate on the files of a checkpoint, one on its architecture, one on what was loaded.

The last check, of a loaded model's logits, is in self_check.py.
"""

from __future__ import annotations

import json
import logging
import re
import struct
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from treereason.core import UserError
from treereason.text import LONGEST_VALUE, from_home, shorten

LAYER_TYPES = {"full_attention", "sliding_attention"}
POSITION_DEPENDENT_ROPE = {"dynamic", "longrope"}
ALIBI = ("bloom", "mpt")
SIZES = (
    "num_hidden_layers", "hidden_size", "intermediate_size", "vocab_size", "max_position_embeddings",
    "num_attention_heads", "num_key_value_heads", "head_dim",
    "n_layer", "n_embd", "n_positions", "n_head",  # GPT-2's names
)  # fmt: skip
_log = logging.getLogger(__name__)


def check_checkpoint(name: str) -> None:
    """Gate on the files alone; imports neither torch nor transformers. A hub id passes: it is checked when loaded.

    Raises UserError for a folder that does not exist, unreadable files, or an architecture that cannot be served.
    """
    folder = Path(from_home(name))
    try:
        is_folder = folder.is_dir()
    except OSError as error:  # a name that no file can have
        raise UserError(f"model.name={shorten(name, LONGEST_VALUE)}: {error.strerror}") from None
    if not is_folder:
        if folder.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
            raise UserError(f"model.name={name}: no such folder: give a folder or a hub id")
        return
    path = folder / "config.json"
    if not path.is_file():
        raise UserError(
            f"model.name={name}: the folder has no config.json: give the folder of a transformers checkpoint"
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: is not JSON: {error}") from None
    if not isinstance(config, dict):
        raise UserError(f"{path}: is not a JSON object")
    if reason := refusal(config):
        raise UserError(f"model.name={name}: {config.get('model_type')} cannot be served: {reason}")
    check_quantisation(name, config.get("quantization_config"))
    tensor_names(folder)


def check_quantisation(name: str, quantisation: Any) -> None:
    """A quantised checkpoint is loaded by transformers, which needs a package for any kind. Raises UserError."""
    if quantisation and find_spec("accelerate") is None:
        method = quantisation.get("quant_method") if isinstance(quantisation, dict) else None
        kind = f"quantised ({method})" if method else "quantised"
        raise UserError(f"model.name={name}: it is {kind}, which needs another package: pip install accelerate")


def refusal(config: dict[str, Any]) -> str | None:
    """Why a model with this config.json cannot be served by tree attention, None when nothing speaks against it."""
    text = config.get("text_config") if isinstance(config.get("text_config"), dict) else config
    assert isinstance(text, dict)
    if config.get("is_encoder_decoder"):
        return "an encoder-decoder has no single token tree"
    if text.get("model_type") in ALIBI or text.get("alibi"):
        return "its attention adds ALiBi biases, which the tree's does not know"
    if text.get("attention_chunk_size"):
        return f"its attention is cut into chunks of {text['attention_chunk_size']} tokens"
    layer_types = text.get("layer_types") or ()
    if not isinstance(layer_types, list | tuple):
        return f"its layer_types should be a list, not {layer_types!r}"
    if other := sorted({str(layer_type) for layer_type in layer_types} - LAYER_TYPES):
        return f"it has layers of type {', '.join(other)}; served are {', '.join(sorted(LAYER_TYPES))}"
    rope_types = _rope_types(text.get("rope_parameters")) | _rope_types(text.get("rope_scaling"))
    if found := rope_types & POSITION_DEPENDENT_ROPE:
        return f"its RoPE ({', '.join(sorted(found))}) depends on the longest position in a step, so on other branches"
    for field in SIZES:
        if isinstance(value := text.get(field), int | float) and value < 1:
            return f"its config.json says {field}={value}: put in the number that it was trained with"
    return None


def tensor_names(folder: Path) -> set[str]:
    """Names in the headers of a checkpoint's safetensors files. Raises UserError for missing or broken files."""
    index = folder / "model.safetensors.index.json"
    files = [folder / "model.safetensors"]
    if index.is_file():
        try:
            files = sorted({folder / file for file in json.loads(index.read_text("utf-8"))["weight_map"].values()})
        except (ValueError, TypeError, LookupError, AttributeError):
            raise UserError(f"{index}: has no weight_map from tensors to files: download it again") from None
    return {name for file in files for name in _header(file) if name != "__metadata__"}


def check_architecture(name: str, network_class: Any, config: Any) -> None:
    """Gate on the architecture, once transformers has named it. Raises UserError."""
    if not getattr(network_class, "_supports_attention_backend", False):
        raise UserError(
            f"model.name={name}: {config.model_type} cannot be served: its attention cannot be replaced in transformers"
        )
    if reason := refusal(config.to_dict()):
        raise UserError(f"model.name={name}: {config.model_type} cannot be served: {reason}")


def check_tensors(name: str, expected: Iterable[str], tied: Iterable[str], folder: Path) -> None:
    """Refuse a checkpoint that lacks tensors, before any is read. Raises UserError.

    Where the checkpoint has names that the model does not know, it may be renamed while loading, and the loader
    decides.
    """
    present = tensor_names(folder)
    wanted = set(expected) - set(tied)
    missing = sorted(wanted - present)
    if missing and present <= wanted | set(tied):
        raise UserError(
            f"model.name={name}: the checkpoint lacks {len(missing)} of its tensors, first {missing[0]}: "
            "download it again"
        )


def check_loaded(name: str, known: Iterable[str], info: Mapping[str, Any], *, quantised: bool) -> None:
    """Refuse what transformers loaded in part only, and log what else it left out of a checkpoint.

    known: the model's tensors; info: transformers' report. Raises UserError.
    """
    if mismatched := sorted(info["mismatched_keys"]):
        tensor, stored, wanted = mismatched[0]
        raise UserError(
            f"model.name={name}: the checkpoint's tensors are of other sizes than config.json says, "
            f"first of {len(mismatched)}: {tensor} is {tuple(stored)}, not {tuple(wanted)}"
        )
    if missing := sorted(info["missing_keys"]):
        raise UserError(
            f"model.name={name}: the checkpoint lacks {len(missing)} of its tensors, first {missing[0]}: "
            "download it again"
        )
    left_over = sorted(info["unexpected_keys"])
    if left_over and quantised:  # such as scales, and then weights are wrong
        raise UserError(
            f"model.name={name}: transformers does not know this quantisation: it leaves out {len(left_over)} of the "
            f"checkpoint's tensors, first {left_over[0]}"
        )
    own = {_in_any_layer(tensor) for tensor in known}
    if of_layers := [tensor for tensor in left_over if _in_any_layer(tensor) in own]:
        raise UserError(
            f"model.name={name}: the checkpoint has more layers than config.json says: left out would be "
            f"{of_layers[0]}, first of {len(of_layers)} tensors"
        )
    if left_over:
        left_out = f"{left_over[0]}, first of {len(left_over)} tensors that the model does not have"
        _log.warning("model.name=%s: left out of the checkpoint: %s", name, left_out)


def _in_any_layer(tensor: str) -> str:
    """A tensor's name without the number of its layer."""
    return re.sub(r"\.\d+\.", ".*.", tensor, count=1)


def _rope_types(rope: Any) -> set[str]:
    """RoPE types in a config, which may hold one set of parameters or one for each layer type."""
    if not isinstance(rope, dict):
        return set()
    own = rope.get("rope_type", rope.get("type"))
    return ({own} if isinstance(own, str) else set()).union(*(_rope_types(value) for value in rope.values()))


def _header(path: Path) -> dict[str, Any]:
    """The JSON header of a safetensors file."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; weights are read from safetensors only")
    with path.open("rb") as file:
        length = file.read(8)
        size = struct.unpack("<Q", length)[0] if len(length) == 8 else 0
        total = path.stat().st_size
        try:
            header: dict[str, Any] = json.loads(file.read(size)) if 0 < size <= total - 8 else {}
            ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
            end = 8 + size + max(ends)
        except (ValueError, TypeError, LookupError, AttributeError):
            raise UserError(f"{path}: is not a safetensors file, or was cut off: download it again") from None
    if end > total:
        raise UserError(f"{path}: is cut off: {total:,} bytes of {end:,}: download it again")
    return header
