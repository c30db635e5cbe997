"""A transformers causal LM and its tokenizer, as the engine uses them: encode, forward over packed rows, decode."""

from __future__ import annotations

import logging
import textwrap
from pathlib import Path
from typing import Any

import torch
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from treereason.core import Prompt, UserError
from treereason.engine import attention
from treereason.engine.attention import Attention, Tree, TreeStep
from treereason.engine.checks import check_architecture, check_loaded, check_quantisation, check_tensors, self_check
from treereason.engine.packed import pack_linears

MAX_ERROR = 300
EMBEDDED = Path(__file__).resolve().parent.parent / "embedded"


def resolve(name: str) -> str:
    """Folder of the shipped model for "embedded", otherwise the path or hub id as given."""
    return str(EMBEDDED) if name == "embedded" else name


class Model:
    """Wraps a loaded model; its attention becomes the tree's. style: "chat" puts prompts in the chat template."""

    def __init__(self, network: PreTrainedModel, tokenizer: Any, style: str) -> None:
        self.tokenizer = tokenizer
        self.style = style
        network.train(False)
        network.set_attn_implementation(attention.NAME)
        self._network = network
        self.device = next(network.parameters()).device
        self.attention: Attention = "tree" if self.device.type == "cpu" else "triton"
        config = network.config.get_text_config()
        self.max_positions: int = config.max_position_embeddings
        eos = network.generation_config.eos_token_id if network.generation_config else None
        eos = tokenizer.eos_token_id if eos is None else eos
        self.eos_ids = frozenset(eos if isinstance(eos, list) else [eos])
        num_kv_heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        itemsize = next(network.parameters()).element_size()
        self.vocabulary_size: int = config.vocab_size
        self.kv_bytes_per_token: int = 2 * config.num_hidden_layers * num_kv_heads * head_dim * itemsize
        self._heads: dict[str, list[int]] = {}
        self._pieces: dict[int, str] = {}

    @torch.inference_mode()
    def forward(self, step: TreeStep, rows: list[int]) -> torch.Tensor:
        """Logits [len(rows), V] of the given rows; KV of all rows is stored on the way."""
        # A padded step computes as many logits as it has rows, so that the head's shape is fixed as well.
        padding = [0] * (len(step.token_ids) - len(rows)) if step.num_padding else []
        output = self._network(
            input_ids=step.token_ids[None],
            position_ids=step.positions[None],
            use_cache=False,
            logits_to_keep=torch.tensor(rows + padding, dtype=torch.long, device=self.device),
            tree=step,
        )
        logits: torch.Tensor = output.logits[0, : len(rows)]
        return logits

    def forward_all(self, token_ids: torch.Tensor, positions: torch.Tensor, tree: Tree) -> torch.Tensor:
        """Logits [N, V] of all rows; token_ids, positions: [N] int64. Makes no tensor of host data: can be captured."""
        output = self._network(input_ids=token_ids[None], position_ids=positions[None], use_cache=False, tree=tree)
        logits: torch.Tensor = output.logits[0]
        return logits

    @torch.inference_mode()
    def eager_logits(self, tokens: list[int]) -> torch.Tensor:
        """Logits [V] after a sequence by transformers' own attention: what the tree is checked against."""
        self._network.set_attn_implementation("eager")
        try:
            output = self._network(input_ids=torch.tensor([tokens], device=self._network.device), use_cache=False)
        finally:
            self._network.set_attn_implementation(attention.NAME)
        logits: torch.Tensor = output.logits[0, -1]
        return logits

    def encode(self, prompt: Prompt) -> tuple[list[int], int]:
        """Token ids of a fresh prompt, and how many leading ones every problem shares. Raises ValueError."""
        if prompt.token_ids:
            return list(prompt.token_ids), 0
        tokens = self._encode_fresh(prompt.shared + prompt.text)
        if not prompt.shared:
            return tokens, 0
        if prompt.shared not in self._heads:
            self._heads[prompt.shared] = self._encode_fresh(prompt.shared)
        num_shared = 0
        for mine, theirs in zip(tokens, self._heads[prompt.shared], strict=False):
            if mine != theirs:
                break
            num_shared += 1
        return tokens, num_shared

    def encode_appended(self, prompt: Prompt) -> list[int]:
        """Token ids of a prompt that continues a branch; may be none. Raises ValueError."""
        if prompt.token_ids or not prompt.text:
            return list(prompt.token_ids)
        return self._tokenize(prompt.text, special=False)

    def decode(self, tokens: list[int]) -> str:
        text: str = self.tokenizer.decode(tokens, skip_special_tokens=True)
        return text

    def piece(self, token: int) -> str:
        """Text of one token alone; a cheap hint whether a stop string can have ended with it."""
        if token not in self._pieces:
            self._pieces[token] = self.tokenizer.decode([token])
        return self._pieces[token]

    def _encode_fresh(self, text: str) -> list[int]:
        if self.style != "chat":
            return self._tokenize(text, special=True)
        message = [{"role": "user", "content": text}]
        try:
            text = self.tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
        except Exception as error:  # of any type: templates are programs; so below
            raise ValueError(f"the model's chat template refuses the prompt: {_one_line(error)}") from None
        return self._tokenize(text, special=False)

    def _tokenize(self, text: str, *, special: bool) -> list[int]:
        try:
            text.encode()  # names half a surrogate pair, which JSON may hold, better than tokenizers do
            tokens: list[int] = self.tokenizer(text, add_special_tokens=special)["input_ids"]
        except Exception as error:
            raise ValueError(f"the tokenizer refuses the prompt: {_one_line(error)}") from None
        return tokens


def load_model(name: str, *, style: str, dtype: str = "auto", device: str = "auto") -> Model:
    """Load from a folder or hub id; safetensors only, no remote code. Raises UserError for what cannot be served.

    dtype "auto" is the checkpoint's own; device "auto" is a CUDA device when there is one.
    """
    location = resolve(name)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device != "cpu" and not torch.cuda.is_available():
        raise UserError(f"model.device={device}: torch finds no such device; use model.device=cpu")
    # Retries and reports of many lines would bury the one line below that says the same.
    for chatty in ("huggingface_hub", "transformers.quantizers.auto"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    logging.getLogger("transformers.modeling_utils").disabled = True  # at a level of its own it reports on sharding
    disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        config = AutoConfig.from_pretrained(location, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(location, trust_remote_code=False)
    except Exception as error:  # of any type: transformers stumbles over what a user's files hold; so below
        raise UserError(f"model.name={name}: its config or tokenizer cannot be loaded: {_one_line(error)}") from None
    if style == "chat" and not getattr(tokenizer, "chat_template", None):
        raise UserError(f"model.name={name}: its tokenizer has no chat template; use model.style=plain")
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise UserError(f"model.name={name}: {config.model_type} is no causal language model of transformers")
    network_class: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    check_architecture(name, network_class, config)
    quantisation = getattr(config, "quantization_config", None)
    check_quantisation(name, quantisation)
    if Path(location).is_dir():
        try:
            with torch.device("meta"):
                skeleton = network_class(config)
        except Exception as error:
            raise UserError(f"model.name={name}: its config.json builds no model: {_one_line(error)}") from None
        check_tensors(name, skeleton.state_dict(), skeleton.all_tied_weights_keys, Path(location))
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            location,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # refused by name below
            device_map={"": device} if quantisation else None,  # may not be moved afterwards
        )
    except Exception as error:
        raise UserError(f"model.name={name}: transformers cannot load it: {_one_line(error)}") from None
    network, info = loaded
    check_loaded(name, network.state_dict(), info, quantised=bool(quantisation))
    if not quantisation:
        network = network.to(device)
    if device != "cpu":
        torch.cuda.set_device(network.device)  # Triton launches on the current one
    pack_linears(network)
    model = Model(network, tokenizer, style)
    self_check(name, model)
    return model


def _one_line(error: Exception) -> str:
    return textwrap.shorten(str(error), MAX_ERROR) or type(error).__name__
