"""Reward models of transformers as scorers: one score for question and answer, or one per step (a process reward).

A forest of its own: the KV of a thought's text stays, and what is below it computes only its own tokens, behind its
parent's. One at a time, a score depends on the thought's path alone, to the last bit. In batches its last digits depend
on what else is in them, and so on the pace of the run.
"""

from __future__ import annotations

import json
import math
from array import array
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import takewhile
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from treereason.core import Thought, UserError, judge
from treereason.core.given_file import read_json_object
from treereason.text import from_home, one_line, printable

KINDS = ("ForSequenceClassification", "ForTokenClassification")
LARGEST_CONFIG_BYTES = 2**24
MOST_KV_TOKENS = 2**15
"""KV of so many tokens stays, or of the path at work where that has more; what is dropped is computed again."""
HEAD = "score.weight"
SEPARATORS = {"line": "\n", "paragraph": "\n\n"}
AGGREGATES: dict[str, Callable[[Sequence[float]], float]] = {
    "last": lambda scores: scores[-1],
    "min": min,
    "prod": math.prod,
    "mean": lambda scores: math.fsum(scores) / len(scores),
}


@dataclass(frozen=True)
class _Read:
    """What is known of a text: its tokens, K and V of each layer [1, heads, T, dim], and logits [T, labels].

    key: its name, made of its own tokens and of the key of the text above it.
    """

    key: bytes
    tokens: list[int]
    layers: list[tuple[Any, ...]]
    logits: Any


@judge
@dataclass
class RewardModel:
    """A reward model of transformers in `reward.model`: sequence classification, or token classification for steps.

    It reads the problem's input and the thoughts' texts from the last prompt of their own on; in its chat template,
    where its tokenizer has one. Of a sequence: its one number, or the probability of the second of two labels. Of steps
    (Lightman et al. 2023, arXiv 2305.20050): the sigmoid, or that probability, at the last token of each, aggregated.
    """

    option_group = "reward"

    model: str | None = None
    aggregate: str = "last"
    step: str = "line"
    batch_size: int = 1
    dtype: str = "auto"
    device: str = "auto"
    _known: OrderedDict[bytes, _Read] = field(default_factory=OrderedDict, init=False, repr=False)

    @staticmethod
    def refusal(task: object, config: Any) -> str | None:  # noqa: ARG004
        """Why the folder cannot be served, as far as its files tell; None where it seems to be fit."""
        if config.reward.model is None:
            return "reward.model is missing: give reward.model=FOLDER"
        folder = Path(from_home(config.reward.model))
        where = f"reward.model={config.reward.model}"
        if not folder.is_dir():
            return f"{where}: no such folder"
        if not (folder / "config.json").is_file():
            return f"{where}: the folder has no config.json: give the folder of a transformers checkpoint"
        try:
            names = read_json_object(folder / "config.json", LARGEST_CONFIG_BYTES).get("architectures")
        except UserError as error:
            return f"{where}: {error}"
        if not isinstance(names, list) or not names or not str(names[0]).endswith(KINDS):
            return (
                f"{where}: its architecture is {printable(str(names))}: a reward model ends with {' or '.join(KINDS)}"
            )
        if not list(folder.glob("*.safetensors")):
            return f"{where}: its weights are not in safetensors, and other files may run code"
        try:
            num_labels = _num_labels(folder)
        except (OSError, SafetensorError) as error:
            return f"{where}: its weights cannot be read: {one_line(error)}"
        if num_labels not in (1, 2):
            has = f"gives {num_labels} labels" if num_labels else "is missing: there is no score.weight"
            return f"{where}: its head {has}; needs a causal model with a head called score of 1 or 2 labels"
        return None

    def __post_init__(self) -> None:
        import torch
        from transformers import (
            AutoConfig,
            AutoModelForSequenceClassification,
            AutoModelForTokenClassification,
            AutoTokenizer,
        )

        folder = from_home(self.model or "")
        device = self.device if self.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
        try:
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
            self._by_step = config.architectures[0].endswith(KINDS[1])
            auto: Any = AutoModelForTokenClassification if self._by_step else AutoModelForSequenceClassification
            network, info = auto.from_pretrained(
                folder,
                dtype=self.dtype,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
            )
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            self._head = network.score
        except Exception as error:
            raise UserError(f"reward.model={self.model}: transformers cannot load it: {one_line(error)}") from None
        if missing := sorted(info["missing_keys"]):
            raise UserError(f"reward.model={self.model}: the checkpoint lacks {missing[0]}, which would be random")
        if not self._tokenizer.is_fast:
            raise UserError(f"reward.model={self.model}: its tokenizer does not tell where tokens lie: give a fast one")
        self._body: Any = getattr(network.to(device).eval(), network.base_model_prefix)
        self._longest = getattr(config, "max_position_embeddings", None) or math.inf

    def __call__(self, thoughts: Sequence[Thought]) -> list[float]:
        """Scores of up to `batch_size` thoughts. Raises ValueError for a text that has no score."""
        texts = [self._texts(thought) for thought in thoughts]
        reads: list[_Read | None] = [None] * len(texts)
        for depth in range(max(len(path) for path, _ in texts)):
            going = [i for i, (path, _) in enumerate(texts) if depth < len(path)]
            for i, read in zip(going, self._behind([(reads[i], texts[i][0][depth]) for i in going]), strict=True):
                reads[i] = read
        return [self._score(read, ends) for read, (_, ends) in zip(reads, texts, strict=True) if read is not None]

    def _score(self, read: _Read, ends: Sequence[int]) -> float:
        if self._by_step:
            return AGGREGATES[self.aggregate]([_bounded(read.logits[end].tolist()) for end in ends])
        logits = read.logits[-1].tolist()
        return float(logits[0]) if len(logits) == 1 else _bounded(logits)

    def _texts(self, thought: Thought) -> tuple[list[list[int]], list[int]]:
        """Tokens of the question and of each text below it down to the thought's, and where its steps end."""
        question = thought.problem.input
        question = question if isinstance(question, str) else json.dumps(question, ensure_ascii=False, default=str)
        path, solution, ends = [self._tokens(question, "")[0]], "", list[int]()
        for step in _steps(thought):
            solution += step.text + step.stop
            tokens, ends = self._tokens(question, solution)
            path.append(tokens)
        if self._by_step and not ends:
            raise ValueError("the thought has no text, so there is no step to score")
        return path, ends

    def _tokens(self, question: str, solution: str) -> tuple[list[int], list[int]]:
        """Token ids of question and solution, and the places of those with which the steps end."""
        plain = not self._tokenizer.chat_template
        if plain:
            text = f"{question}\n{solution}"
        else:
            turns = [{"role": "user", "content": question}, {"role": "assistant", "content": solution}]
            text = self._tokenizer.apply_chat_template(turns, tokenize=False)
        encoded = self._tokenizer(text, add_special_tokens=plain, return_offsets_mapping=True)
        tokens, offsets = encoded["input_ids"], encoded["offset_mapping"]
        if len(tokens) > self._longest:
            raise ValueError(f"{len(tokens)} tokens: the reward model takes {self._longest}")
        found = solution if plain else solution.strip()  # as chat templates do
        start = text.rfind(found)
        ends = [start + end for end in _step_ends(found, SEPARATORS[self.step])] if found and start >= 0 else []
        return tokens, [max(i for i, (low, high) in enumerate(offsets) if low < end and low < high) for end in ends]

    def _behind(self, asked: Sequence[tuple[_Read | None, list[int]]]) -> list[_Read]:
        """What is read of texts, each with the text above it, which is known."""
        keys = [
            blake2b(array("q", tokens).tobytes(), key=above.key if above else b"").digest() for above, tokens in asked
        ]
        found = {key: self._known[key] for key in keys if key in self._known}
        new = {key: text for key, text in zip(keys, asked, strict=True) if key not in found}
        if new:
            found |= zip(new, self._compute(list(new), list(new.values())), strict=True)
        for key in keys:
            self._known[key] = found[key]
            self._known.move_to_end(key)
        while len(self._known) > 1 and sum(len(each.tokens) for each in self._known.values()) > MOST_KV_TOKENS:
            self._known.popitem(last=False)
        return [found[key] for key in keys]

    def _compute(self, keys: Sequence[bytes], asked: Sequence[tuple[_Read | None, list[int]]]) -> list[_Read]:
        """One padded batch: to the left the KV that each text shares with the one above it, then its own tokens."""
        import torch
        from transformers import DynamicCache

        shared = [_num_shared(above, tokens) for above, tokens in asked]
        num_left = max(shared)
        num_right = max(len(tokens) - num for num, (_, tokens) in zip(shared, asked, strict=True))
        ids = torch.zeros(len(asked), num_right, dtype=torch.long)
        seen = torch.zeros(len(asked), num_left + num_right, dtype=torch.long)
        for row, (num, (_, tokens)) in enumerate(zip(shared, asked, strict=True)):
            ids[row, : len(tokens) - num] = torch.tensor(tokens[num:])
            seen[row, num_left - num : num_left - num + len(tokens)] = 1
        positions = torch.tensor(shared)[:, None] + torch.arange(num_right)
        cache: Any = DynamicCache()
        layers = next((above.layers for above, _ in asked if above is not None), []) if num_left else []
        for layer, some in enumerate(layers):
            rows = [above.layers[layer] if above is not None else some for above, _ in asked]
            cache.update(*(_side_by_side([row[kind] for row in rows], shared) for kind in (0, 1)), layer)
        device = self._body.device
        mask = seen.to(device) if len(asked) > 1 else None
        with torch.inference_mode():
            # By position: its name is `past_key_values` up to transformers 5.23, `cache` later.
            hidden = self._body(ids.to(device), mask, positions.to(device), cache).last_hidden_state
            logits = self._head(hidden).float()
        reads = []
        for row, (key, num, (above, tokens)) in enumerate(zip(keys, shared, asked, strict=True)):
            own = logits[row, : len(tokens) - num]
            start = num_left - num
            held = [
                tuple(kv[row : row + 1, :, start : start + len(tokens)].clone() for kv in (layer.keys, layer.values))
                for layer in cache.layers
            ]
            reads.append(_Read(key, tokens, held, torch.cat([above.logits[:num], own]) if above is not None else own))
        return reads


def _num_shared(above: _Read | None, tokens: list[int]) -> int:
    """Leading tokens that a text shares with the one above it; never all, for the last one gives the score."""
    pairs = zip(above.tokens if above is not None else [], tokens[:-1], strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _side_by_side(rows: Sequence[Any], nums: Sequence[int]) -> Any:
    """The first tokens of K or V [1, heads, T, dim], as many as `nums` says of each row, padded to the left."""
    import torch

    pad = torch.nn.functional.pad
    return torch.cat([pad(row[:, :, :num], (0, 0, max(nums) - num, 0)) for row, num in zip(rows, nums, strict=True)])


def _num_labels(folder: Path) -> int:
    """Labels of the head in the files' headers, 0 without a head. Raises OSError and SafetensorError."""
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="np") as file:
            if HEAD in set(file.keys()):
                return int(file.get_slice(HEAD).get_shape()[0])
    return 0


def _steps(thought: Thought) -> list[Thought]:
    """The thoughts that were appended to one another down to this one, in order."""
    steps = [thought]
    while steps[-1].appended and steps[-1].parent is not None:
        steps.append(steps[-1].parent)
    return steps[::-1]


def _step_ends(solution: str, separator: str) -> list[int]:
    """Where each step ends, its separator included; lines without text are no steps."""
    ends, start = [], 0
    while start < len(solution):
        found = solution.find(separator, start)
        end = len(solution) if found < 0 else found + len(separator)
        if solution[start:end].strip():
            ends.append(end)
        start = end
    return ends


def _bounded(logits: list[float]) -> float:
    """Probability of the second of two labels, or the sigmoid of a single number."""
    first, second = (0.0, *logits) if len(logits) == 1 else logits
    return 1 / (1 + math.exp(min(first - second, 700.0)))
