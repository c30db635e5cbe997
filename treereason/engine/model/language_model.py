"""A transformers causal LM and its tokenizer, as the engine uses them: encode, forward over packed rows, decode."""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedModel

from treereason.core import Prompt
from treereason.engine import attention
from treereason.engine.attention import AttentionKind, AttentionStep, EagerStep
from treereason.text import one_line


class LanguageModel:
    """Wraps a loaded model; its attention becomes the tree's. style: "chat" puts prompts in the chat template.

    name: for reports; the class of the network by default.
    """

    def __init__(self, network: PreTrainedModel, tokenizer: Any, style: str, name: str = "") -> None:
        self.name = name or type(network).__name__
        self.tokenizer = tokenizer
        self.style = style
        network.train(False)
        network.set_attn_implementation(attention.NAME)
        self._network = network
        self.device = next(network.parameters()).device
        self.dtype = network.dtype
        self.attention: AttentionKind = "tree" if self.device.type == "cpu" else "triton"
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
        self._prefix_tokens: dict[str, list[int]] = {}
        self._token_texts: dict[int, str] = {}

    @torch.inference_mode()
    def forward(self, step: EagerStep, rows: list[int]) -> torch.Tensor:
        """Logits [len(rows), V] of the given rows; KV of all rows is stored on the way."""
        # A padded step computes as many logits as it has rows, so that the head's shape is fixed as well.
        padding = [0] * (len(step.token_ids) - len(rows)) if step.num_padding else []
        output = self._network(
            input_ids=step.token_ids[None],
            position_ids=step.positions[None],
            use_cache=False,
            logits_to_keep=torch.tensor(rows + padding, dtype=torch.long, device=self.device),
            step=step,
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
        if prompt.shared not in self._prefix_tokens:
            self._prefix_tokens[prompt.shared] = self._encode_fresh(prompt.shared)
        num_shared = 0
        for mine, theirs in zip(tokens, self._prefix_tokens[prompt.shared], strict=False):
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

    def token_text(self, token: int) -> str:
        """Text of one token alone; a cheap hint whether a stop string can have ended with it."""
        if token not in self._token_texts:
            self._token_texts[token] = self.tokenizer.decode([token])
        return self._token_texts[token]

    def _encode_fresh(self, text: str) -> list[int]:
        if self.style != "chat":
            return self._tokenize(text, special=True)
        message = [{"role": "user", "content": text}]
        try:
            text = self.tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
        except Exception as error:  # of any type: templates are programs; so below
            raise ValueError(f"the model's chat template refuses the prompt: {one_line(error)}") from None
        return self._tokenize(text, special=False)

    def _tokenize(self, text: str, *, special: bool) -> list[int]:
        try:
            text.encode()  # names half a surrogate pair, which JSON may hold, better than tokenizers do
            tokens: list[int] = self.tokenizer(text, add_special_tokens=special)["input_ids"]
        except Exception as error:
            raise ValueError(f"the tokenizer refuses the prompt: {one_line(error)}") from None
        return tokens
