"""What a training run can be told as `option=value`, checked before any work begins."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from treereason.config.options import options
from treereason.config.schema import explain
from treereason.core import UserError
from treereason.text import nearest

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]


class _Frozen(BaseModel):
    """Values may come as text, as on a command line."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ModelShape(_Frozen):
    """Shape of the Llama decoder."""

    width: Count = Field(default=160, description="channels")
    layers: Count = Field(default=4, description="layers")
    heads: Count = Field(default=8, description="query heads")
    kv_heads: Count = Field(default=2, description="key and value heads")
    head_width: Count = Field(default=32, multiple_of=2, description="channels per head; even, for rotary positions")
    feed_forward: Count = Field(default=448, description="channels inside the feed-forward layers")
    positions: Count = Field(default=2048, description="longest text, in tokens")

    @model_validator(mode="after")
    def _divides(self) -> Self:
        for large, small in (("width", "heads"), ("heads", "kv_heads")):
            if getattr(self, large) % getattr(self, small):
                raise UserError(
                    f"model.{large}={getattr(self, large)} is not a multiple of model.{small}={getattr(self, small)}"
                )
        return self


class TrainingSettings(_Frozen):
    """One training run. Raises pydantic's ValidationError, or UserError for a shape that does not divide."""

    output: str = Field(default="runs/training", description="folder of resume.pt and of the model, in model/")
    minutes: Positive = Field(
        default=40.0, description="time for training steps; the learning rate rises and falls within it"
    )
    threads: Count = Field(default=2, description="micro-batches computed at a time")
    seed: int = Field(default=0, description="of weights and data")
    tokens: Count = Field(default=768, description="token ids per micro-batch; a step has up to eight")
    learning_rate: Positive = Field(default=2e-3, description="the highest one")
    decay: float = Field(
        default=0.4, gt=0, lt=1, description="share of the run, at its end, while the learning rate falls"
    )
    warm_up_steps: int = Field(default=500, ge=0, description="steps until problems have their full size")
    checkpoint_minutes: Positive = Field(default=4.0, description="time between saves")
    evaluation_problems: int = Field(default=100, ge=0, description="problems per measurement; 0 measures nothing")
    resume: bool = Field(default=False, description="go on from output/resume.pt")
    start: str = Field(default="", description="folder of a model to begin with; tokens that are new get fresh rows")
    attempts: str = Field(
        default="", description="file of attempts, made by tools.embedded_model.attempts; without it no verdicts"
    )
    smoke: bool = Field(default=False, description="a small model for half a minute, hardly measured")
    model: ModelShape = ModelShape()

    def sized(self) -> TrainingSettings:
        """These settings, or with `smoke` their short form."""
        if not self.smoke:
            return self
        small = {"width": 64, "layers": 2, "heads": 2, "kv_heads": 1, "feed_forward": 128}
        short = {
            "minutes": min(self.minutes, 0.5),
            "tokens": 256,
            "warm_up_steps": 10**6,
            "evaluation_problems": min(self.evaluation_problems, 2),
            "model": self.model.model_copy(update=small),
        }
        return self.model_copy(update=short)


def parse(arguments: Iterable[str]) -> TrainingSettings:
    """Settings from `option=value` texts. Raises UserError, in one line, for anything else."""
    known = [option.name for option in options(TrainingSettings)]
    values: dict[str, Any] = {}
    for argument in arguments:
        name, given, value = argument.partition("=")
        if not given:
            raise UserError(f"{argument!r} is not of the form option=value")
        if name not in known:
            raise UserError(f"no option is called {name}; {nearest(name, known)}")
        outer, _, inner = name.rpartition(".")
        (values.setdefault(outer, {}) if outer else values)[inner] = value
    try:
        return TrainingSettings.model_validate(values)
    except ValidationError as error:
        raise UserError(explain(error)) from None
