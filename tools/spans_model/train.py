"""Trains a small model with attention spans, or a control arm with full attention, from random weights on a CPU.

    python -m tools.spans_model.train --output runs/spans-0 --seed 0
    python -m tools.spans_model.train --output runs/spans-long-0 --tokens 7.5e6        # the shipped model
    python -m tools.spans_model.train --output runs/full-0 --seed 0 --mask full        # the same text and tokens
    python -m tools.spans_model.train --output runs/full-gaps-0 --mask full --gaps yes
    python -m tools.spans_model.train --output runs/full-long-0 --mask full --tokens 9e6
    python -m tools.spans_model.train --output runs/documents-0 --skill documents

The number of tokens decides when a run ends, so that arms are compared at equal training. A run that was stopped goes
on from its output/resume.pt.
"""

import argparse
import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from transformers.utils.logging import disable_progress_bar

from tools.embedded_model.model import build_model, build_optimizers, learning_rate_factor, save_model
from tools.embedded_model.settings import ModelShape
from tools.spans_model.data import IGNORED, Mask, MicroBatch, Skill, make_step
from tools.spans_model.tokenizer import build_tokenizer, vocabulary

SHAPE = ModelShape(width=96, layers=4, heads=6, kv_heads=2, head_width=16, feed_forward=256, positions=4096)
STEP_TOKENS = 2048
MICRO_BATCHES = 4
LEARNING_RATE = 2e-3
DECAY = 0.4
_SAVE_SECONDS = 60.0


@dataclass(frozen=True)
class Arm:
    """What is trained: a skill, with spans or full attention, with position gaps or without, for so many tokens."""

    skill: Skill
    mask: Mask
    gaps: bool
    seed: int
    tokens: int


@dataclass
class Trainer:
    """A model in training; goes on from `folder`/resume.pt where that is. Sets torch's seed and takes `threads`.

    seconds: of the processor, so that a busy machine does not count.
    """

    arm: Arm
    folder: Path
    threads: int = 1
    shape: ModelShape = SHAPE
    steps: int = 0
    tokens: int = 0
    seconds: float = 0.0
    recent: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        torch.set_num_threads(self.threads)
        torch.manual_seed(self.arm.seed)
        self.model = build_model(self.shape, len(vocabulary()))
        self.optimizers = build_optimizers(self.model, LEARNING_RATE)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.state = self.folder / "resume.pt"
        if self.state.is_file():
            saved = torch.load(self.state, weights_only=True)
            if saved["arm"] != asdict(self.arm):
                raise SystemExit(f"error: {self.state} is of another run: {saved['arm']}; give another --output")
            self.model.load_state_dict(saved["model"])
            for optimizer, state in zip(self.optimizers, saved["optimizers"], strict=True):
                optimizer.load_state_dict(state)
            self.steps, self.tokens, self.seconds = saved["progress"]

    def save(self) -> None:
        """Write what a run goes on from, the model's files, and training.json, which tells how they were made."""
        saved = {
            "arm": asdict(self.arm),
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "progress": (self.steps, self.tokens, self.seconds),
        }
        fresh = self.state.with_suffix(".new")
        torch.save(saved, fresh)
        fresh.replace(self.state)
        save_model(self.model, self.folder / "model", build_tokenizer)
        told = {**asdict(self.arm), "steps": self.steps, "seen": self.tokens, "minutes": round(self.seconds / 60, 1)}
        told |= {"threads": self.threads, "parameters": self.model.num_parameters()}
        (self.folder / "training.json").write_text(json.dumps(told) + "\n")

    def loss(self, batch: MicroBatch) -> torch.Tensor:
        """Sum of the cross-entropy in nats over the targets of a micro-batch, a scalar."""
        logits = self.model(
            input_ids=batch.ids, position_ids=batch.positions, attention_mask=batch.mask, use_cache=False
        ).logits
        return torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORED, reduction="sum"
        )

    def step(self) -> float:
        """One optimizer step; returns the mean loss. Raises RuntimeError when it is not finite."""
        arm = self.arm
        batches = make_step(arm.skill, arm.seed, self.steps, STEP_TOKENS, MICRO_BATCHES, arm.mask, gaps=arm.gaps)
        targets = sum(int((batch.targets != IGNORED).sum()) for batch in batches)
        total = 0.0
        for batch in batches:
            loss = self.loss(batch) / targets
            torch.autograd.backward(loss)
            total += loss.item()
        if not math.isfinite(total):
            raise RuntimeError(f"the loss of step {self.steps} is {total}")
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        rate = LEARNING_RATE * learning_rate_factor(self.steps, self.tokens / arm.tokens, DECAY)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad()
        self.steps += 1
        self.tokens += sum(int((batch.ids != 0).sum()) for batch in batches)
        return total

    def run(self) -> None:
        """Steps until the tokens are used up, saving on the way."""
        saved = self.seconds
        while self.tokens < self.arm.tokens:
            began = time.process_time()
            self.recent.append(self.step())
            self.seconds += time.process_time() - began
            if self.steps % 50 == 0:
                told = f"{self.seconds / 60:6.1f} min  step {self.steps}  {self.tokens / 1e6:.2f}M tokens"
                print(f"{told}  loss {sum(self.recent) / len(self.recent):.4f}", flush=True)
                self.recent.clear()
            if self.seconds - saved > _SAVE_SECONDS:
                self.save()
                saved = self.seconds
        self.save()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder of resume.pt and training.json, and model/")
    parser.add_argument("--skill", choices=("arithmetic", "documents"), default="arithmetic")
    parser.add_argument("--mask", choices=("spans", "full"), default="spans")
    parser.add_argument("--gaps", choices=("yes", "no"), help="position gaps; by default with spans only")
    parser.add_argument("--seed", type=int, default=0, help="of weights and data")
    parser.add_argument("--tokens", type=float, default=3e6, help="ids that are seen, padding not counted")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(arguments)
    disable_progress_bar()  # type: ignore[no-untyped-call]
    gaps = args.mask == "spans" if args.gaps is None else args.gaps == "yes"
    Trainer(Arm(args.skill, args.mask, gaps, args.seed, int(args.tokens)), args.output, args.threads).run()


if __name__ == "__main__":
    main()
