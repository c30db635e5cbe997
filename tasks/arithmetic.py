"""Arithmetic such as 2+4*5, one line of the working a thought: few_shot's questions with defaults for step by step."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from treereason.core import Problem, UserError
from treereason.tasks.few_shot import SCORERS as SCORERS
from treereason.tasks.few_shot import FewShot


@dataclass(frozen=True)
class Arithmetic(FewShot):
    """Evaluate generated expressions of + - * line by line, after worked examples or none: few_shot without files.

    Of the same seed and operations, the problems are those of few_shot unless one of them is a worked example here.
    """

    examples: Annotated[
        int, Field(ge=0, le=64, description="worked examples before the question, the same for all problems; up to 64")
    ] = 0
    stepwise: Annotated[
        bool, Field(description="true: a thought is one line of the working; false: a whole solution")
    ] = True

    scorer = "steps_hold"

    def read(self, path: Path) -> Sequence[Problem]:
        raise UserError(f"Arithmetic reads no files: take task=few_shot for task.path={path}")
