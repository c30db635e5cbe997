"""Trains the shipped model from random weights on a CPU, within a fixed time."""

import math
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import mean

import torch
from rich.console import Console
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from tools.embedded_model.attempts import read
from tools.embedded_model.card import render_card, render_scores
from tools.embedded_model.data import MicroBatch, make_step, step_plan
from tools.embedded_model.evaluate import Evaluator, Measurement, evaluate
from tools.embedded_model.model import (
    answer_loss,
    build_model,
    build_optimizers,
    learning_rate_factor,
    load_weights,
    save_model,
)
from tools.embedded_model.settings import TrainingSettings, parse
from treereason.config.options import options
from treereason.core import UserError

_REPORT_SECONDS = 15.0


@dataclass
class Progress:
    """Where a run stands: optimizer steps, padded ids seen, and seconds spent on steps."""

    steps: int = 0
    tokens: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class TrainingResult:
    """Folder of the checkpoint, how far training went, its measurements, and the answer loss of each step in nats."""

    folder: Path
    progress: Progress
    measurements: list[Measurement]
    losses: list[float]


@dataclass
class Trainer:
    """A model in training: settings, optimizers, progress, and the files it leaves in `settings.output`.

    Building one sets torch's seed, leaves torch one thread an operation, and with `settings.resume` loads the saved
    state; then a missing state raises UserError.
    """

    settings: TrainingSettings
    console: Console
    progress: Progress = field(default_factory=Progress)

    def __post_init__(self) -> None:
        torch.set_num_threads(1)
        # One thread a micro-batch: threads inside each operation would wait for one another at every one of them.
        self.workers = ThreadPoolExecutor(self.settings.threads, initializer=torch.set_num_threads, initargs=(1,))
        torch.manual_seed(self.settings.seed)
        self.model = build_model(self.settings.model)
        if self.settings.start:
            load_weights(self.model, Path(self.settings.start))
        self.attempts = read(Path(self.settings.attempts)) if self.settings.attempts else []
        self.optimizers = build_optimizers(self.model, self.settings.learning_rate)
        output = Path(self.settings.output)
        self.folder, self.state = output / "model", output / "resume.pt"
        if self.settings.resume:
            self._load()
        output.mkdir(parents=True, exist_ok=True)

    def _load(self) -> None:
        if not self.state.is_file():
            raise UserError(f"nothing to resume: {self.state} does not exist")
        saved = torch.load(self.state, weights_only=True)
        self.model.load_state_dict(saved["model"])
        for optimizer, state in zip(self.optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        self.progress = Progress(**saved["progress"])

    def save(self) -> None:
        """Write the state for resuming, in one move, and the model's files."""
        saved = {
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "progress": asdict(self.progress),
        }
        fresh = self.state.with_suffix(".new")
        torch.save(saved, fresh)
        fresh.replace(self.state)
        save_model(self.model, self.folder)

    def step(self, elapsed: float) -> list[float]:
        """One optimizer step; returns the loss of each micro-batch in the order of `step_plan`.

        `elapsed` in [0, 1] is the share of the time that is over. Raises RuntimeError when a loss is not finite.
        """
        settings = self.settings
        batches = make_step(settings.seed, self.progress.steps, settings.tokens, settings.warm_up_steps, self.attempts)

        def learn(batch: MicroBatch) -> float:
            loss = answer_loss(self.model, batch)
            torch.autograd.backward(loss / len(batches))
            return loss.item()

        losses = list(self.workers.map(learn, batches))
        if not all(map(math.isfinite, losses)):
            raise RuntimeError(f"the losses of step {self.progress.steps} are {losses}")
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        rate = settings.learning_rate * learning_rate_factor(self.progress.steps, elapsed, settings.decay)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad()
        self.progress.steps += 1
        self.progress.tokens += sum(batch.ids.numel() for batch in batches)
        return losses

    def run(self) -> list[float]:
        """Steps until the time is used up, saving on the way; returns the mean loss of every step."""
        progress, budget = self.progress, self.settings.minutes * 60
        reported = saved = progress.seconds
        recent: list[list[float]] = []
        losses: list[float] = []
        while progress.seconds < budget:
            began = time.perf_counter()
            recent.append(self.step(progress.seconds / budget))
            progress.seconds += time.perf_counter() - began
            losses.append(mean(recent[-1]))
            if progress.seconds - reported > _REPORT_SECONDS or progress.seconds >= budget:
                self._report(recent)
                recent, reported = [], progress.seconds
            if progress.seconds - saved > self.settings.checkpoint_minutes * 60:
                self.save()
                saved = progress.seconds
        self.save()
        return losses

    def _report(self, recent: list[list[float]]) -> None:
        by_task: defaultdict[str, list[float]] = defaultdict(list)
        for losses in recent:
            for task, loss in zip(step_plan(self.attempts), losses, strict=True):
                by_task[task].append(loss)
        progress = self.progress
        say(
            self.console,
            f"{progress.seconds / 60:6.2f} min  step {progress.steps}  {progress.tokens / 1e6:.2f}M tokens"
            f"  {progress.tokens / progress.seconds:,.0f}/s  loss: "
            + "  ".join(f"{task} {mean(losses):.3f}" for task, losses in by_task.items()),
        )


def say(console: Console, line: str) -> None:
    """Print one plain line, however wide the console."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def train(settings: TrainingSettings, console: Console) -> TrainingResult:
    """Run a training from data to model card; files land in `settings.output`, the checkpoint in its folder model/.

    With `resume` and no time left it only measures and writes the card again. Raises as Trainer does.
    """
    trainer = Trainer(settings.sized(), console)
    losses = trainer.run()
    measurements = measure(trainer, console)
    card = render_card(
        measurements,
        parameters=trainer.model.num_parameters(),
        seed=settings.seed,
        steps=trainer.progress.steps,
        tokens=trainer.progress.tokens,
        minutes=trainer.progress.seconds / 60,
        threads=settings.threads,
    )
    (trainer.folder / "README.md").write_text(card, encoding="utf-8")
    say(console, f"wrote {trainer.folder}")
    return TrainingResult(trainer.folder, trainer.progress, measurements, losses)


def measure(trainer: Trainer, console: Console) -> list[Measurement]:
    """Measurements of the files as they were written, not of the weights in memory; none when none are asked for."""
    count = trainer.settings.evaluation_problems
    if not count:
        return []
    torch.set_num_threads(trainer.settings.threads)
    model = AutoModelForCausalLM.from_pretrained(trainer.folder)
    tokenizer = AutoTokenizer.from_pretrained(trainer.folder)
    measurements = []
    for measurement in evaluate(Evaluator(model, tokenizer, count)):
        say(console, f"{measurement.name}, {measurement.problems} problems: {render_scores(measurement)}")
        measurements.append(measurement)
    return measurements


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line: `python -m tools.embedded_model.train minutes=40`; `--help` lists all options."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if {"-h", "--help"} & set(arguments):
        print(__doc__, "Options, as option=value:", sep="\n")
        for option in options(TrainingSettings):
            print(f"  {f'{option.name}={option.default}':30} {option.description}")
        return
    disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        train(parse(arguments), Console())
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
