"""The model's own attempts with a verdict on each line, as JSON lines: what its skill of judging is trained on.

`python -m tools.embedded_model.attempts OUTPUT.jsonl` samples them from the shipped model.
"""

import json
import random
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import treereason as tr
from treereason.tasks.generators import arithmetic

TEMPERATURE = 0.9
SAMPLES = 8
_OPERATIONS = range(2, 7)
_LENGTHS = range(16, 65, 4)
_PROBLEMS = {"arithmetic": 600, "lists": 60}
_SEED = 77


@dataclass(frozen=True)
class Attempt:
    """A question and what the model wrote, in pieces; `right`: whether all is right up to the end of each piece."""

    prompt: str
    pieces: list[str]
    right: list[bool]

    def up_to(self, verdict: bool, rng: random.Random) -> str | None:
        """The attempt up to a piece for which the verdict is this one; None where there is none."""
        fitting = [i for i, right in enumerate(self.right) if right is verdict]
        return "".join(self.pieces[: rng.choice(fitting) + 1]) if fitting else None


def of_solution(question: str, text: str) -> Attempt | None:
    """A solution in lines, the last one the answer; None where it has another form."""
    lines = text.split("\n")
    held = arithmetic.check_steps(question, text)
    if not held or len(lines) != len(held) + 1 or not lines[-1].startswith("A"):
        return None
    held.append(lines[-1][1:] == lines[-2][1:])
    right = [all(held[: i + 1]) for i in range(len(held))]
    return Attempt(arithmetic.render_question(question), [*(f"{line}\n" for line in lines[:-1]), lines[-1]], right)


def of_list(digits: list[int], text: str) -> Attempt:
    """A sorted list in one piece."""
    given = "".join(map(str, digits))
    return Attempt(f"sort {given}=", [text], [text == "".join(sorted(given))])


def sampled(problems: dict[str, int]) -> Iterator[Attempt]:
    """Distinct attempts of the shipped model at fresh problems: so many of each size, SAMPLES of each."""
    model = tr.load("embedded")
    tasks: list[tr.tasks.FewShot | tr.tasks.Sorting] = [
        *(tr.tasks.FewShot(operations=n, limit=problems["arithmetic"]) for n in _OPERATIONS),
        *(tr.tasks.Sorting(length=n, limit=problems["lists"]) for n in _LENGTHS),
    ]
    for task in tasks:
        run = tr.run(task, tr.search.SelfConsistency(n=SAMPLES), model, seed=_SEED, temperature=TEMPERATURE)
        for found in run.problems:
            for text in dict.fromkeys(thought.text for thought in found.thoughts if thought.answer is not None):
                sorting = isinstance(task, tr.tasks.Sorting)
                attempt = of_list(found.input, text) if sorting else of_solution(found.input, text)
                if attempt is not None:
                    yield attempt


def read(path: Path) -> list[Attempt]:
    """The attempts that `main` wrote."""
    return [Attempt(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def main() -> None:
    """Write all attempts to the file that the command line names."""
    output = Path(sys.argv[1])
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("w", encoding="utf-8") as file:
        for attempt in sampled(_PROBLEMS):
            file.write(json.dumps(asdict(attempt)) + "\n")


if __name__ == "__main__":
    main()
