"""A small tokenizer of each family that is in use, trained on a few lines, and a model that follows a script."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

from tests.fakes import COMMON
from treereason.engine.attention.eager_step import EagerStep
from treereason.engine.model.language_model import LanguageModel

SPECIAL = ["<unk>", "<s>", "</s>", "<|end|>"]
OPTIONS: dict[str, Any] = {"special_tokens": SPECIAL, "show_progress": False}
LINES = [
    "two plus two cats make 4 dogs, don't they? +1 -1 (a) [b] = ABC DEF DEFG.",
    "The answer is 210.\n\nQuestion: what does a coffee of €5 cost in 日本, für mich? 😀",
    "Step 1: hello world\nStep 2: how are the two dogs?\n",
] * 3


def byte_level(*, add_prefix_space: bool = False) -> Tokenizer:
    """As of GPT-2, Llama 3, Qwen: every token is a run of bytes."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, **OPTIONS)
    core.train_from_iterator(LINES, trainer)
    return core


def byte_fallback() -> Tokenizer:
    """As of Llama 2: a space in front of every text, and bytes for characters that the vocabulary lacks."""
    core = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    core.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trainer = trainers.BpeTrainer(vocab_size=300, **OPTIONS)
    core.train_from_iterator([line.encode("ascii", "ignore").decode().replace("\n", "") for line in LINES], trainer)
    data = json.loads(core.to_str())
    vocabulary, data["pre_tokenizer"] = data["model"]["vocab"], None
    vocabulary.update({f"<0x{byte:02X}>": len(vocabulary) + byte for byte in range(256)})
    core = Tokenizer.from_str(json.dumps(data))
    spaces = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    core.decoder = decoders.Sequence(spaces)
    return core


def metaspace() -> Tokenizer:
    """As of T5 and many multilingual models: Unigram, "▁" for a space, and one in front of every text."""
    core = Tokenizer(models.Unigram())
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    core.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=200, unk_token="<unk>", **OPTIONS)
    core.train_from_iterator(LINES, trainer)
    return core


def word_piece() -> Tokenizer:
    """As of BERT: "##" inside a word, and a space in front of every other token."""
    core = Tokenizer(models.WordPiece(unk_token="<unk>"))
    core.normalizer = normalizers.BertNormalizer()
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.decoder = decoders.WordPiece()
    core.train_from_iterator(LINES, trainers.WordPieceTrainer(vocab_size=200, **OPTIONS))
    return core


FAMILIES: dict[str, Callable[[], Tokenizer]] = {
    "byte level": byte_level,
    "byte level, space in front": lambda: byte_level(add_prefix_space=True),
    "byte fallback": byte_fallback,
    "metaspace": metaspace,
    "word piece": word_piece,
}


@cache
def _trained(family: str) -> str:
    return FAMILIES[family]().to_str()


@cache
def tokenizer_of(family: str, template: str = "<s> $A") -> PreTrainedTokenizerFast:
    """template: which special tokens stand around a text."""
    core = Tokenizer.from_str(_trained(family))
    special = [(token, SPECIAL.index(token)) for token in SPECIAL]
    core.post_processor = processors.TemplateProcessing(single=template, special_tokens=special)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", unk_token="<unk>", clean_up_tokenization_spaces=True
    )


class ScriptedModel(LanguageModel):
    """Writes `script`, one token a step, whatever it reads."""

    script: Sequence[int] = ()

    def forward(self, step: EagerStep, rows: list[int]) -> torch.Tensor:  # noqa: ARG002
        logits = torch.zeros(len(rows), self.vocabulary_size)
        if self.script:
            logits[:, self.script[0]] = 100.0
            self.script = self.script[1:]
        return logits


def scripted_model(tokenizer: PreTrainedTokenizerFast) -> ScriptedModel:
    config = LlamaConfig(
        **{**COMMON, "vocab_size": len(tokenizer), "num_hidden_layers": 1, "max_position_embeddings": 4096}
    )
    auto: Any = AutoModelForCausalLM
    return ScriptedModel(auto.from_config(config), tokenizer, "plain")
