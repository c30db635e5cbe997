"""Searches on a file of math word problems with a real model: what is solved, what it costs, how samples end.

    python -m benchmarks.word_problems --model FOLDER --problems test.jsonl --examples train.jsonl [--record]

One sample and self-consistency over the same problems, prompts and temperature. Files are GSM8K's or MATH's
(tasks/word_problems.py); they and the model are named by their last part alone. Intervals are bootstraps over problems.
`samples` counts whole samples by how they ended, `stop` at a stop string; `unread` are those that ended by themselves
and state no answer, `cut` those that a limit ended before they stated one. `--show 5` prints wrong samples. One row of
JSON a search.
"""

from __future__ import annotations

import os

os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # before torch loads OpenMP (docs/log.md)

import argparse
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import treereason as tr
from benchmarks.bootstrap import interval
from benchmarks.record import finish
from treereason.core import Finish, Search, Thought
from treereason.tasks.word_problems import WordProblems

PACKAGES = ("torch", "transformers")
SEARCHES: dict[str, Callable[[int], Search]] = {
    "single_sample": lambda _: tr.search.SingleSample(),
    "self_consistency": lambda n: tr.search.SelfConsistency(n=n),
}


def row(run: tr.Run, cpu_seconds: float) -> dict[str, Any]:
    """What a run solved and what it cost; tokens are means per problem, KV is that of the hungriest problem."""
    right = [[thought.answer == problem.target for thought in problem.thoughts] for problem in run.problems]
    thoughts = [thought for problem in run.problems for thought in problem.thoughts]
    computed, reused = run.summary["tokens_prefilled"], run.summary["tokens_reused"]
    return {
        "solved": _described([float(problem.solved) for problem in run.problems]),
        "sample_solved": _described([fmean(map(float, of)) for of in right]),
        "any_sample_solved": _described([float(any(of)) for of in right]),
        "samples": dict(Counter(thought.finish.value for thought in thoughts if thought.finish)),
        "unread": sum(thought.answer is None and thought.finish is not Finish.LENGTH for thought in thoughts),
        "empty": sum(not thought.text.strip() for thought in thoughts),
        "cut": sum(thought.answer is None and thought.finish is Finish.LENGTH for thought in thoughts),
        "tokens": round(run.summary["tokens_decoded"] / len(run.problems), 1),
        "prompt_tokens": round((computed + reused) / len(run.problems), 1),
        "prompt_tokens_reused": round(reused / (computed + reused), 3),
        "kv_tokens_peak": max(problem.kv_tokens_peak for problem in run.problems),
        "kv_read_ratio": round(run.summary["kv_read_ratio"], 2),
        "seconds": round(run.summary["seconds"], 1),
        "cpu_seconds": round(cpu_seconds, 1),
    }


def _described(values: Sequence[float]) -> dict[str, Any]:
    low, high = interval(values)
    return {"value": round(fmean(values), 4), "interval": [round(low, 4), round(high, 4)]}


def show(run: tr.Run, count: int) -> None:
    """Print the first `count` wrong samples, each of another problem."""
    wrong: list[tuple[Any, Thought]] = []
    for problem in run.problems:
        wrong += [(problem, thought) for thought in problem.thoughts if thought.answer != problem.target][:1]
    for problem, thought in wrong[:count]:
        print(f"# {problem.id}: {thought.answer!r}, not {problem.target!r} ({thought.finish}): {thought.text!r}")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder of a transformers model")
    parser.add_argument("--style", choices=("chat", "plain"), default="chat", help="plain: without a chat template")
    parser.add_argument("--problems", required=True, help="JSON lines")
    parser.add_argument("--examples", help="JSON lines of worked examples")
    parser.add_argument("--num-examples", type=int, default=8)
    parser.add_argument("--examples-as", choices=("text", "turns"), default="turns")
    parser.add_argument("--search", choices=SEARCHES, action="append", help="both by default")
    parser.add_argument("--n", type=int, default=8, help="samples that vote")
    parser.add_argument("--limit", type=int, default=100, help="problems")
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--show", type=int, default=0, help="print so many wrong samples")
    parser.add_argument("--record", action="store_true", help="append to benchmarks/results/")
    args = parser.parse_args(arguments)

    model = tr.load(args.model, style=args.style)
    task = WordProblems(
        path=args.problems,
        limit=args.limit,
        examples_path=args.examples,
        examples=args.num_examples if args.examples else 0,
        examples_as=args.examples_as,
        max_tokens=args.max_tokens,
    )
    problems = task.problems(args.seed)
    about = {
        "model": Path(args.model).name,
        "style": args.style,
        "dtype": str(model.dtype).removeprefix("torch."),
        "file": Path(args.problems).name,
        "questions_sha256": hashlib.sha256("\n".join(problem.input for problem in problems).encode()).hexdigest()[:16],
        "problems": len(problems),
        "examples": task.examples,
        "examples_as": task.examples_as,
        "max_tokens": args.max_tokens,
        "temperature": args.temperature,
        "seed": args.seed,
        "threads": args.threads,
    }
    for name in args.search or SEARCHES:
        made = SEARCHES[name](args.n)
        cpu = time.process_time()
        run = tr.run(
            task,
            made,
            model,
            seed=args.seed,
            temperature=args.temperature,
            baseline="none",
            threads=args.threads,
        )
        measured = row(run, time.process_time() - cpu)
        show(run, args.show)
        finish("word_problems", {**about, "search": repr(made), **measured}, packages=PACKAGES, record=args.record)


if __name__ == "__main__":
    main()
