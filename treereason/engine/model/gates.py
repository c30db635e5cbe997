"""What the engine can serve: a gate on the files of a checkpoint, one on its architecture, one on what was loaded.

The last check, of a loaded model's logits, is in self_check.py.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from treereason.core import UserError
from treereason.core.given_file import MIB, check_regular, file_name, read_json_object, readable
from treereason.engine.model.generation_values import generation_refusal
from treereason.engine.model.gguf_file import is_gguf, read_gguf
from treereason.engine.model.gguf_layout import check_gguf
from treereason.engine.model.rope import rope_refusal
from treereason.engine.model.sizes import count_refusal, layers, size_refusal
from treereason.engine.model.smollm2 import located
from treereason.engine.model.stored_tensors import StoredTensor, stored_tensors
from treereason.text import from_home, one_line, printable, shown

LAYER_TYPES = {"full_attention", "sliding_attention"}
ALIBI = ("bloom", "mpt")
TEXT_FILES = {".json", ".txt", ".jinja", ".model", ".tiktoken"}
LARGEST_TEXT_BYTES = 16 * MIB  # of a configuration
LARGEST_TABLE_BYTES = 128 * MIB  # of a tokenizer's tables; those of 262,144 tokens have 33 MB
TABLES = ("tokenizer.json", "vocab.json", "vocab.txt", "merges.txt")
OBJECTS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
MOST_FIELDS = 2000  # of a configuration, which has under 200; transformers takes 0.2 ms for each
LARGEST_BUFFERS_BYTES = 1024 * MIB  # of tables that are computed, such as of positions, beyond the checkpoint's size
WEIGHTS = {"F64", "F32", "F16", "BF16"}
_log = logging.getLogger(__name__)


def check_checkpoint(name: str) -> None:
    """Gate on the files alone; imports neither torch nor transformers. A hub id passes: it is checked when loaded.

    Raises UserError for a folder that does not exist, unreadable files, or an architecture that cannot be served.
    """
    folder = Path(from_home(located(name)))
    with readable(folder):
        if is_gguf(folder):
            check_gguf(name, read_gguf(folder))
            return
        if not folder.is_dir():
            if folder.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
                raise UserError(f"model.name={name}: no such folder: give a folder or a hub id")
            return
        if not (folder / "config.json").exists():
            raise UserError(
                f"model.name={name}: the folder has no config.json: give the folder of a transformers checkpoint"
            )
    _check_text_files(folder)
    config = _fields(folder / "config.json")
    if reason := refusal(config):
        kind = printable(one_line(config.get("model_type"), 60))
        raise UserError(f"model.name={name}: {kind} cannot be served: {reason}")
    check_quantisation(name, config.get("quantization_config"))
    stored = stored_tensors(folder)
    check_dtypes(name, stored, quantised=bool(config.get("quantization_config")))
    if (num_layers := layers(text_config(config))) > len(stored):  # each layer has a tensor of its own at least
        raise UserError(
            f"model.name={name}: its config.json says {num_layers:,} layers, "
            f"and the checkpoint has {len(stored):,} tensors in all"
        )


def _check_text_files(folder: Path) -> None:
    """Every file of a folder that transformers might read is a regular one of a bounded size. Raises UserError."""
    with readable(folder):
        paths = sorted(path for path in folder.iterdir() if path.suffix in TEXT_FILES)  # a link to nothing, too
    for path in paths:
        is_table = path.name in TABLES or path.name.endswith((".model", ".tiktoken", ".index.json"))
        check_regular(path, LARGEST_TABLE_BYTES if is_table else LARGEST_TEXT_BYTES)
        if path.name in OBJECTS:
            read_json_object(path, LARGEST_TEXT_BYTES)
        if path.name == "generation_config.json" and (reason := generation_refusal(_fields(path))):
            raise UserError(f"{file_name(path)}: {reason}")


def _fields(path: Path) -> dict[str, Any]:
    """The values of a configuration file. Raises UserError, also for more of them than any configuration has."""
    values = read_json_object(path, LARGEST_TEXT_BYTES)
    text = text_config(values)
    if (number := max(len(values), len(text))) > MOST_FIELDS:
        raise UserError(f"{file_name(path)}: it has {number:,} fields, and at most {MOST_FIELDS:,} are read")
    return values


def check_quantisation(name: str, quantisation: Any) -> None:
    """A quantised checkpoint is loaded by transformers, which needs a package for any kind. Raises UserError."""
    if quantisation and find_spec("accelerate") is None:
        method = quantisation.get("quant_method") if isinstance(quantisation, dict) else None
        kind = f"quantised ({method})" if method else "quantised"
        raise UserError(f"model.name={name}: it is {kind}, which needs another package: pip install accelerate")


def refusal(config: dict[str, Any]) -> str | None:
    """Why a model with this config.json cannot be served by tree attention, None when nothing speaks against it."""
    text = text_config(config)
    if config.get("is_encoder_decoder"):
        return "an encoder-decoder has no single token tree"
    if text.get("model_type") in ALIBI or text.get("alibi"):
        return "its attention adds ALiBi biases, which the tree's does not know"
    if text.get("attention_chunk_size"):
        return f"its attention is cut into chunks of {shown(text['attention_chunk_size'])} tokens"
    layer_types = text.get("layer_types") or ()
    if not isinstance(layer_types, list | tuple):
        return f"its layer_types should be a list, not {shown(layer_types)}"
    if other := sorted({str(layer_type) for layer_type in layer_types} - LAYER_TYPES):
        return f"it has layers of type {printable(', '.join(other), 100)}; served are {', '.join(sorted(LAYER_TYPES))}"
    return rope_refusal(text) or size_refusal(text) or count_refusal(config)


def text_config(config: dict[str, Any]) -> dict[str, Any]:
    """The part of a config that is about the language model."""
    inner = config.get("text_config")
    return inner if isinstance(inner, dict) else config


def check_architecture(name: str, network_class: Any, config: Any) -> None:
    """Gate on the architecture, once transformers has named it. Raises UserError."""
    if not getattr(network_class, "_supports_attention_backend", False):
        raise UserError(
            f"model.name={name}: {config.model_type} cannot be served: its attention cannot be replaced in transformers"
        )
    if reason := refusal(config.to_dict()):
        raise UserError(f"model.name={name}: {config.model_type} cannot be served: {reason}")


def check_dtypes(name: str, stored: Mapping[str, StoredTensor], *, quantised: bool) -> None:
    """Refuse weights that are not floating-point numbers and that no quantisation explains. Raises UserError."""
    if quantised:
        return
    for tensor, found in stored.items():
        if tensor.endswith("weight") and found.dtype not in WEIGHTS:
            raise _no_weights(name, tensor, found)


def check_tensors(name: str, skeleton: Any, present: Mapping[str, StoredTensor], *, quantised: bool) -> None:
    """Refuse a checkpoint that is not the model's, before any tensor is read or allocated. Raises UserError.

    skeleton: the network on the meta device. present: what the checkpoint has. Where it has names that the skeleton
    does not know, tensors may be renamed while loading, and the loader decides; but they may not be far fewer values
    than the model has.
    """
    expected = skeleton.state_dict()
    tied = set(skeleton.all_tied_weights_keys)
    wanted = expected.keys() - tied
    missing = sorted(wanted - present.keys())
    if missing and present.keys() <= expected.keys():
        raise _lacking(name, missing)
    num_bytes = sum(tensor.num_bytes for tensor in present.values())
    num_buffer_bytes = sum(buffer.numel() * buffer.element_size() for buffer in skeleton.buffers())
    if num_buffer_bytes > num_bytes + LARGEST_BUFFERS_BYTES:
        raise UserError(f"model.name={name}: its config.json asks for tables of {num_buffer_bytes:,} bytes")
    if quantised:  # packed in another shape, in a bit a value or more
        num_stored = 8 * num_bytes
    else:
        num_stored = sum(tensor.num_values for tensor in present.values())
        other = [key for key in sorted(wanted & present.keys()) if present[key].num_values != expected[key].numel()]
        odd = [key for key, _ in skeleton.named_parameters() if key in present and present[key].dtype not in WEIGHTS]
        if odd:
            raise _no_weights(name, odd[0], present[odd[0]])
        if other:
            raise _other_sizes(name, len(other), other[0], present[other[0]].shape, expected[other[0]].shape)
    num_wanted = sum(expected[key].numel() for key in wanted)
    if num_wanted > 2 * num_stored:
        raise UserError(
            f"model.name={name}: its config.json asks for {num_wanted:,} weights, and the checkpoint has {num_stored:,}"
        )


def _lacking(name: str, missing: Sequence[str]) -> UserError:
    return UserError(
        f"model.name={name}: the checkpoint lacks {len(missing)} of its tensors, first {missing[0]}: download it again"
    )


def _no_weights(name: str, tensor: str, found: StoredTensor) -> UserError:
    return UserError(
        f"model.name={name}: {printable(tensor, 100)} is stored as {found.dtype}, without a quantisation that is known"
    )


def _other_sizes(name: str, count: int, tensor: str, stored: Iterable[int], wanted: Iterable[int]) -> UserError:
    return UserError(
        f"model.name={name}: the checkpoint's tensors are of other sizes than config.json says, "
        f"first of {count}: {tensor} is {tuple(stored)}, not {tuple(wanted)}"
    )


def check_loaded(name: str, known: Iterable[str], info: Mapping[str, Any], *, quantised: bool) -> None:
    """Refuse what transformers loaded in part only, and log what else it left out of a checkpoint.

    known: the model's tensors; info: transformers' report. Raises UserError.
    """
    if mismatched := sorted(info["mismatched_keys"]):
        tensor, stored, wanted = mismatched[0]
        raise _other_sizes(name, len(mismatched), tensor, stored, wanted)
    if missing := sorted(info["missing_keys"]):
        raise _lacking(name, missing)
    left_over = sorted(info["unexpected_keys"])
    if left_over and quantised:  # such as scales, and then weights are wrong
        raise UserError(
            f"model.name={name}: transformers does not know this quantisation: it leaves out {len(left_over)} of the "
            f"checkpoint's tensors, first {printable(left_over[0])}"
        )
    own = {_in_any_layer(tensor) for tensor in known}
    if of_layers := [tensor for tensor in left_over if _in_any_layer(tensor) in own]:
        raise UserError(
            f"model.name={name}: the checkpoint has more layers than config.json says: left out would be "
            f"{printable(of_layers[0])}, first of {len(of_layers)} tensors"
        )
    if left_over:
        left_out = f"{printable(left_over[0])}, first of {len(left_over)} tensors that the model does not have"
        _log.warning("model.name=%s: left out of the checkpoint: %s", name, left_out)


def _in_any_layer(tensor: str) -> str:
    """A tensor's name without the number of its layer."""
    return re.sub(r"\.\d+\.", ".*.", tensor, count=1)
