"""Checkpoints that several files of tests load."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

from treereason.engine.model.load import EMBEDDED

TEMPLATE = (
    "{% for message in messages %}Q {{ message['content'] }}\n{% endfor %}{% if add_generation_prompt %}A {% endif %}"
)


@pytest.fixture
def chat_checkpoint(tmp_path: Path) -> Path:
    """A random Llama with the shipped tokenizer and a chat template."""
    folder = tmp_path / "chat"
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)  # type: ignore[no-untyped-call]
    return folder
