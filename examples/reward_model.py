"""A reward model: REWARD_MODEL=FOLDER treereason scorer=./examples/reward_model.py:RewardModel search=best_of_n"""

import os

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from treereason import Thought, UserError


class RewardModel:
    """The one number of a transformers classifier for prompt and answer; made once, in the process that scores."""

    def __init__(self) -> None:
        if not (folder := os.environ.get("REWARD_MODEL")):
            raise UserError("set REWARD_MODEL to the folder of a transformers model for sequence classification")
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForSequenceClassification.from_pretrained(folder, use_safetensors=True).eval()

    @torch.inference_mode()
    def __call__(self, thoughts: list[Thought]) -> list[float]:
        texts = [thought.transcript() for thought in thoughts]
        encoded = self.tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        return self.model(**encoded).logits[:, 0].tolist()
