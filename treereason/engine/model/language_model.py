"""A transformers causal LM and its tokenizer, as the engine uses them: encode, forward over packed rows, decode."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import torch

from treereason.core import Prompt, UserError
from treereason.engine.attention.eager_step import AttentionKind, EagerStep
from treereason.engine.attention.interface import NAME, AttentionStep, serve
from treereason.engine.model.dated_template import pinned, shows_date
from treereason.engine.model.llama import Llama
from treereason.engine.model.text_codec import TextCodec
from treereason.text import one_line

if TYPE_CHECKING:  # seconds of imports, which the shipped model does without
    from transformers import PreTrainedModel

_log = logging.getLogger(__name__)


class LanguageModel:
    """Wraps a loaded model; its attention becomes the tree's. style: "chat" puts prompts in the chat template.

    name: for reports; the class of the network by default. generation: the values of its generation_config.json.
    fused: which modules run as one kernel, in words; "" where none could. same_bits: whether a branch has the same bits
    whatever is computed beside it.
    """

    def __init__(self, network: PreTrainedModel | Llama, tokenizer: Any, style: str, name: str = "") -> None:
        self.name = name or type(network).__name__
        self.tokenizer = tokenizer
        self.style = style
        self.fused = ""
        self.same_bits = False
        network.train(False)
        self._network: Any = network
        self.device = next(network.parameters()).device
        self.dtype = network.dtype
        self.attention: AttentionKind = "tree" if self.device.type == "cpu" else "triton"
        self.generation: dict[str, Any] = {}
        config: Any
        if isinstance(network, Llama):
            config = network.config
            self.eos_ids = _eos_ids(config)
        else:
            serve(network)
            config = network.config.get_text_config()
            self.generation = network.generation_config.to_dict()
            self.eos_ids = _eos_ids(tokenizer, network.generation_config, network.config, config)
        self.max_positions: int = config.max_position_embeddings
        num_kv_heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        itemsize = next(network.parameters()).element_size()
        self.vocabulary_size: int = config.vocab_size
        self.kv_bytes_per_token: int = 2 * config.num_hidden_layers * num_kv_heads * head_dim * itemsize
        self._prefix_tokens: dict[tuple[str, tuple[tuple[str, str], ...], str, str], list[int]] = {}
        self._codec = TextCodec(tokenizer)
        self._told_of_date = False

    @torch.inference_mode()
    def digest_of_weights(self) -> str:
        """Short, and another one when any parameter or buffer has another value. Reads all weights once."""
        digest = blake2b(digest_size=8)
        for name, tensor in self._network.state_dict().items():
            data = tensor.detach().contiguous().view(-1)
            whole = data.view(torch.uint8)
            if whole.numel() % 4 == 0:
                whole = whole.view(torch.int32)
            # Two sums of integers: the second one tells apart the same numbers in another order.
            sums = [int(whole.sum(dtype=torch.int64)), int((whole[::2]).sum(dtype=torch.int64))]
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype} {sums}".encode())
        return digest.hexdigest()

    @torch.inference_mode()
    def forward(self, step: EagerStep, rows: list[int]) -> torch.Tensor:
        """Logits [len(rows), V] of the given rows; KV of all rows is stored on the way."""
        # A padded step computes as many logits as it has rows, so that the head's shape is fixed as well.
        padding = [0] * (len(step.token_ids) - len(rows)) if step.num_padding else []
        if len(rows) < len(step.token_ids):
            wanted = torch.zeros(len(step.token_ids), dtype=torch.bool)
            wanted[rows] = True
            step = replace(step, wanted=wanted)
        kept: dict[str, torch.Tensor] = {}
        if rows != list(range(len(step.token_ids))):
            kept["logits_to_keep"] = torch.tensor(rows + padding, dtype=torch.long, device=self.device)
        output = self._network(
            input_ids=step.token_ids[None], position_ids=step.positions[None], use_cache=False, step=step, **kept
        )
        logits: torch.Tensor = output.logits[0, : len(rows)]
        return logits

    def forward_all(self, token_ids: torch.Tensor, positions: torch.Tensor, step: AttentionStep) -> torch.Tensor:
        """Logits [N, V] of all rows; token_ids, positions: [N] int64. Makes no tensor of host data: can be captured."""
        output = self._network(input_ids=token_ids[None], position_ids=positions[None], use_cache=False, step=step)
        logits: torch.Tensor = output.logits[0]
        return logits

    @torch.inference_mode()
    def eager_logits(self, tokens: list[int]) -> torch.Tensor:
        """Logits [V] after a sequence by transformers' own attention: what the tree is checked against.

        Of networks of transformers alone.
        """
        self._network.set_attn_implementation("eager")
        try:
            output = self._network(input_ids=torch.tensor([tokens], device=self._network.device), use_cache=False)
        finally:
            self._network.set_attn_implementation(NAME)
        logits: torch.Tensor = output.logits[0, -1]
        return logits

    def encode(self, prompt: Prompt) -> tuple[list[int], int]:
        """Token ids of a fresh prompt, and how many leading ones every problem of the run shares.

        Shared is what comes before the prompt's own text, if it has a `shared` text; otherwise its system text alone.
        Raises ValueError, one line, for what the tokenizer or the chat template refuses.
        """
        if prompt.token_ids:
            return list(prompt.token_ids), 0
        tokens = self._encode_fresh(prompt)
        if not prompt.shared and not prompt.system:
            return tokens, 0
        turns = prompt.turns if prompt.shared else ()
        key = prompt.system, turns, prompt.shared, prompt.today
        if key not in self._prefix_tokens:
            self._prefix_tokens[key] = self._encode_fresh(replace(prompt, text="", turns=turns))
        num_shared = 0
        for mine, theirs in zip(tokens, self._prefix_tokens[key], strict=False):
            if mine != theirs:
                break
            num_shared += 1
        return tokens, num_shared

    def encode_text(self, text: str) -> list[int]:
        """Token ids of a text behind other tokens: no template, no special tokens. Raises ValueError, one line."""
        return self._codec.encode_middle(text)

    def decode(self, tokens: list[int]) -> str:
        """Text of the tokens, special ones included, but for those that the tokenizer puts in front of every text."""
        with self._decoding():
            return self._codec.decode(tokens)

    def token_text(self, token: int) -> str:
        """Text of one token behind others; a cheap hint whether a stop string can have ended with it."""
        with self._decoding():
            return self._codec.token_text(token)

    @contextmanager
    def _decoding(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # no thought could be read
            raise UserError(f"model.name={self.name}: its tokenizer decodes nothing: {one_line(error)}") from None

    def _encode_fresh(self, prompt: Prompt) -> list[int]:
        if self.style != "chat":
            return self._codec.encode_front(prompt.plain)
        messages = [{"role": "system", "content": prompt.system}] if prompt.system else []
        for user, model in prompt.turns:
            messages += [{"role": "user", "content": user}, {"role": "assistant", "content": model}]
        messages.append({"role": "user", "content": prompt.shared + prompt.text})
        try:
            text: str = self.tokenizer.apply_chat_template(
                messages, chat_template=self._dated_template(prompt.today), tokenize=False, add_generation_prompt=True
            )
        except Exception as error:  # of any type: templates are programs; so below
            raise ValueError(f"the model's chat template refuses the prompt: {one_line(error)}") from None
        if prompt.system.strip() not in text:
            raise ValueError("the model's chat template leaves out the system text: put it into the prompt's text")
        return self._codec.tokenize(text, special=False)

    def _dated_template(self, today: str) -> str | None:
        """The chat template with the date that it shows, None for one that shows none."""
        template = getattr(self.tokenizer, "chat_template", None)
        if isinstance(template, dict):
            template = template.get("default")
        if not isinstance(template, str) or not shows_date(template):
            return None
        if not today and not self._told_of_date:
            self._told_of_date = True
            _log.warning(
                "model.name=%s: its chat template shows the date, and the prompt gives none: the run will not repeat "
                "tomorrow; write Prompt(..., today=...)",
                self.name,
            )
        return pinned(template, date.fromisoformat(today) if today else date.today())


def _eos_ids(*sources: Any) -> frozenset[int]:
    """What ends a text by any of tokenizer, generation config and configs; each may name no id, one or several."""
    found: set[int] = set()
    for source in sources:
        ids = getattr(source, "eos_token_id", None)
        found.update(ids if isinstance(ids, (list, tuple)) else [] if ids is None else [ids])
    return frozenset(found)
