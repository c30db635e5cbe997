"""A recorded run with its task: thoughts to score and answers to check again, without a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from treereason.analysis.recorded_problem import RecordedProblem, RecordedThought
from treereason.analysis.recorded_run import RecordedRun
from treereason.config.registry import import_plugins
from treereason.config.schema import Config, parse
from treereason.config.validate import build_task, read_problems
from treereason.core import Cost, Finish, Problem, Prompt, Score, Task, Thought, ThoughtPath, TokenStatistics, UserError
from treereason.jsonable import jsonable
from treereason.text import one_line


@dataclass(frozen=True)
class Replay:
    """The task of a run, made again from the configuration in its journal."""

    run: RecordedRun
    config: Config
    task: Task
    problems: Mapping[str, Problem]

    def thoughts(self, recorded: RecordedProblem) -> dict[ThoughtPath, Thought]:
        """The thoughts of a problem by path, the root included, as scorers and tasks see them.

        A prompt is the one that the task gives for the place; where a search put one of its own, the journal does not
        have it. Parents come before children.
        """
        problem = self.problems[recorded.name]
        found: dict[ThoughtPath, Thought] = {(): Thought(problem)}
        for path, thought in recorded.thoughts.items():
            above = tuple(found[parent] for parent in thought.parents or (path[:-1],) if parent in found)
            if above and not thought.probe:
                found[path] = self._thought(problem, thought, above)
        return found

    def solves(self, recorded: RecordedProblem, answer: Any) -> bool:
        """Whether the task calls an answer right; None never is."""
        return answer is not None and bool(self.task.solved(self.problems[recorded.name], answer))

    def _thought(self, problem: Problem, recorded: RecordedThought, above: tuple[Thought, ...]) -> Thought:
        made = Thought(
            problem,
            path=recorded.path,
            parents=above,
            text=recorded.text,
            status=recorded.status,
            error=recorded.error or None,
            logprob=recorded.logprob,
            cost=Cost(recorded.tokens_prefilled, recorded.tokens_decoded, recorded.tokens_reused),
            stop=recorded.stop,
            finish=Finish(recorded.finish) if recorded.finish in list(Finish) else None,
            num_tokens=recorded.num_tokens,
        )
        if recorded.statistics:
            made.token_statistics = TokenStatistics()
            made.token_statistics.extend(recorded.statistics)
        if recorded.scores:
            made.score = Score(*next(reversed(recorded.scores.values())))
        put = self._prompt(above) if len(above) == 1 else None
        if put is not None:
            made.prompt, made.appended = put.text, put.appended
            made.stop = made.stop or (put.stop[0] if made.finish is Finish.STOP and len(put.stop) == 1 else "")
        made.answer = self._answer(made, recorded.answer)
        return made

    def _prompt(self, above: tuple[Thought, ...]) -> Prompt | None:
        try:
            return self.task.prompt(above[0], style_of(self.config))
        except UserError:  # it has none for this style
            return None

    def _answer(self, thought: Thought, recorded: Any) -> Any:
        """The recorded answer, as the type that the task gives it where the task reads the same one again."""
        if recorded is None:
            return None
        try:
            found = self.task.parse(thought)
        except Exception:  # a task of the user's
            return recorded
        return found if found is not None and jsonable(found) == recorded else recorded


def replay(run: RecordedRun) -> Replay:
    """The run with its task. Raises UserError when its configuration or data no longer fit what was recorded."""
    try:
        config = parse(run.started.config)
        import_plugins(config.plugins)
        task = build_task(config.task)
        problems = {one.id: one for one in read_problems(task, config.task["name"], config.seed, style_of(config))}
    except UserError as error:
        raise UserError(f"{run.folder}: {one_line(error)}") from error
    for name, recorded in run.problems.items():
        if name not in problems:
            raise UserError(f"{run.folder}: problem {name} is not among those of the task any more: its data changed")
        if jsonable(problems[name].input) != recorded.input:
            raise UserError(f"{run.folder}: problem {name} asks something else than recorded: the task's data changed")
    return Replay(run, config, task, problems)


def style_of(config: Config) -> str:
    """The style of the run's prompts; "plain", which has them for nearly every task, where only the model knew it."""
    return config.model.style or "plain"
