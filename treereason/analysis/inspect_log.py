"""A recorded run as a log of inspect_ai, which `inspect view` opens: one sample per problem, with its answer.

Format: version 2 of the EvalLog of inspect_ai, as JSON. Of the tree a sample holds what leads to the answer, as the
message of the model, and counts of the rest; `treereason report` shows all of it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from treereason.analysis.recorded_problem import RecordedProblem
from treereason.analysis.recorded_run import RecordedRun
from treereason.jsonable import jsonable

VERSION = 2
STATUS = {"done": "success", "interrupted": "cancelled"}


def inspect_log(run: RecordedRun) -> dict[str, Any]:
    """The log, in plain values."""
    started, summary = run.started, run.summary
    times = [moment for moment, _ in run.timed]
    samples = [_sample(run, problem) for problem in run.problems.values() if problem.done is not None]
    usage = _usage(int(summary["tokens_prefilled"]), int(summary["tokens_decoded"]), int(summary["tokens_reused"]))
    scorer = started.scorer or "score"
    return {
        "version": VERSION,
        "status": STATUS.get(str(summary["status"]), "error"),
        "eval": {
            "created": _time(times[0]),
            "task": started.task,
            "dataset": {"name": started.task, "samples": started.num_problems, "sample_ids": list(run.problems)},
            "model": f"treereason/{started.model}",
            "config": {},
            "task_args": jsonable(started.config.get("task", {})),
            "metadata": {
                "search": jsonable(started.config.get("search", {})),
                "seed": started.seed,
                "guided_by": summary["guided_by"],
                "guide": run.guide,
                "command": run.command,
            },
            "packages": {"treereason": str(run.versions.get("treereason", ""))},
        },
        "plan": {"name": started.search, "steps": [{"solver": started.search, "params": {}}]},
        "results": {
            "total_samples": started.num_problems,
            "completed_samples": len(samples),
            "scores": [
                _metric("solved", float(summary["solved"] / len(samples)) if samples else 0.0, len(samples)),
                *([_metric(scorer, summary["mean_score"], len(samples))] if summary["mean_score"] is not None else []),
            ],
        },
        "stats": {
            "started_at": _time(times[0]),
            "completed_at": _time(times[-1]),
            "model_usage": {f"treereason/{started.model}": usage},
        },
        "samples": samples,
    }


def _sample(run: RecordedRun, problem: RecordedProblem) -> dict[str, Any]:
    done, model = problem.done, f"treereason/{run.started.model}"
    assert done is not None
    best = done.best or ()
    texts = [
        problem.thoughts[best[:depth]].text for depth in range(1, len(best) + 1) if best[:depth] in problem.thoughts
    ]
    asked = problem.input if isinstance(problem.input, str) else str(jsonable(problem.input))
    text = "\n".join(texts)
    answer = None if done.answer is None else str(jsonable(done.answer))
    said = {"role": "assistant", "content": text, "model": model, "source": "generate"}
    scores: dict[str, Any] = {"solved": {"value": "C" if done.solved else "I", "answer": answer}}
    if done.score is not None:
        scores[run.started.scorer or "score"] = {"value": done.score, "answer": answer}
    usage = _usage(done.tokens_prefilled, done.tokens_decoded, done.tokens_reused)
    return {
        "id": problem.name,
        "epoch": 1,
        "input": asked,
        "target": "",
        "messages": [{"role": "user", "content": asked, "source": "input"}, said],
        "output": {"model": model, "choices": [{"message": said, "stop_reason": "stop"}], "usage": usage},
        "scores": scores,
        "metadata": {"thoughts": len(problem.thoughts), "answer_path": list(best), "status": done.status},
        "model_usage": {model: usage},
        **({"error": {"message": done.error, "traceback": "", "traceback_ansi": ""}} if done.error else {}),
    }


def _usage(prefilled: int, decoded: int, reused: int) -> dict[str, int]:
    return {
        "input_tokens": prefilled,
        "output_tokens": decoded,
        "total_tokens": prefilled + decoded + reused,
        "input_tokens_cache_read": reused,
    }


def _metric(name: str, value: float, num: int) -> dict[str, Any]:
    mean = {"name": "mean", "value": value, "params": {}}
    return {
        "name": name,
        "scorer": name,
        "scored_samples": num,
        "unscored_samples": 0,
        "params": {},
        "metrics": {"mean": mean},
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
