"""What a training run can be told, checked before any work begins."""

from dataclasses import dataclass, field, replace


@dataclass
class ModelShape:
    """Shape of the Llama decoder: `width` and `feed_forward` in channels, `head_width` in channels a head."""

    width: int = 160
    layers: int = 4
    heads: int = 8
    kv_heads: int = 2
    head_width: int = 32
    feed_forward: int = 448
    positions: int = 2048

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise ValueError(f"model.{name} must be at least 1, not {value}")
        if self.width % self.heads:
            raise ValueError(f"model.width={self.width} is no multiple of model.heads={self.heads}")
        if self.heads % self.kv_heads:
            raise ValueError(f"model.heads={self.heads} is no multiple of model.kv_heads={self.kv_heads}")
        if self.head_width % 2:
            raise ValueError(f"model.head_width must be even for rotary positions, not {self.head_width}")


@dataclass
class TrainingSettings:
    """One training run.

    `minutes` is the time spent on steps, over which the learning rate rises, stays and falls; `threads` the
    micro-batches computed at a time; `tokens` the ids of one micro-batch; `warm_up_steps` the steps until problems
    have their full size; `checkpoint_minutes` the time between saves; `evaluation_problems` the problems of each
    measurement, 0 for none. `resume` goes on from the state that lies in `output`. Raises ValueError for a value out
    of range.
    """

    output: str = "runs/training"
    minutes: float = 40.0
    threads: int = 2
    seed: int = 0
    tokens: int = 768
    learning_rate: float = 2e-3
    decay: float = 0.4
    warm_up_steps: int = 500
    checkpoint_minutes: float = 4.0
    evaluation_problems: int = 100
    resume: bool = False
    smoke: bool = False
    model: ModelShape = field(default_factory=ModelShape)

    def __post_init__(self) -> None:
        for name in ("minutes", "threads", "tokens", "learning_rate", "checkpoint_minutes"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
        for name in ("warm_up_steps", "evaluation_problems"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, not {getattr(self, name)}")
        if not 0 < self.decay < 1:
            raise ValueError(f"decay must be a share of the run between 0 and 1, not {self.decay}")

    def sized(self) -> "TrainingSettings":
        """These settings, or with `smoke` their short form: a small model for half a minute, hardly measured."""
        if not self.smoke:
            return self
        shape = replace(self.model, width=64, layers=2, heads=2, kv_heads=1, feed_forward=128)
        short = replace(self, minutes=min(self.minutes, 0.5), tokens=256, model=shape, warm_up_steps=10**6)
        return replace(short, evaluation_problems=min(self.evaluation_problems, 2))
