"""Measurements of a trained model on fresh problems, with samples from transformers' own generate."""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any, TypeAlias

import torch
from transformers import PreTrainedTokenizerBase

from tools.embedded_model import attempts, lists, numbers, verdicts
from treereason.tasks.generators import arithmetic, contracts

TEMPERATURE = 0.7
_ROWS = 256
# transformers types generate() for classes of its own that it does not export.
GeneratingModel: TypeAlias = Any
Make: TypeAlias = Callable[[random.Random, int], tuple[str, str]]


@dataclass(frozen=True)
class Measurement:
    """One row of the report: shares and means in [0, 1] by the name of how the answer was chosen."""

    name: str
    problems: int
    scores: dict[str, float]


def sample(
    model: GeneratingModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    new_tokens: int,
    temperature: float,
    count: int = 1,
) -> list[list[str]]:
    """`count` continuations for each prompt, at most `new_tokens` ids, without special tokens; temperature 0 is greedy.

    Draws from torch's global generator.
    """
    options = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}
    at_once = max(1, _ROWS // count)
    texts: list[list[str]] = []
    for start in range(0, len(prompts), at_once):
        batch = tokenizer(list(prompts[start : start + at_once]), return_tensors="pt", padding=True)
        out = model.generate(**batch, num_return_sequences=count, max_new_tokens=new_tokens, **options)
        answers = tokenizer.batch_decode(out[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
        texts += [answers[i : i + count] for i in range(0, len(answers), count)]
    return texts


def _majority(answers: Sequence[int | None]) -> int | None:
    votes = Counter(answer for answer in answers if answer is not None)
    return votes.most_common(1)[0][0] if votes else None


@dataclass(frozen=True)
class Evaluator:
    """A model with its tokenizer, and the seed and number of fresh problems of each measurement."""

    model: GeneratingModel
    tokenizer: PreTrainedTokenizerBase
    problems: int
    seed: int = 10_000

    def _rng(self, name: str) -> random.Random:
        torch.manual_seed(self.seed)
        return random.Random(f"{self.seed}/{name}")

    def _sample(self, prompts: Sequence[str], new_tokens: int, temperature: float, count: int = 1) -> list[list[str]]:
        """`count` continuations for each prompt, in the order of the prompts."""
        return sample(self.model, self.tokenizer, prompts, new_tokens, temperature, count)

    def lists(self, name: str, make: Make, count: int, unit: str = "digits") -> Measurement:
        """Share of problems of `count` digits that come out exactly right, greedily and as one sample."""
        rng = self._rng(name)
        pairs = [make(rng, count) for _ in range(self.problems)]
        room = max(len(answer) for _, answer in pairs) + 8
        scores = {}
        for label, temperature in (("greedy", 0.0), ("one sample", TEMPERATURE)):
            texts = self._sample([prompt for prompt, _ in pairs], room, temperature)
            hits = [text == answer for (text,), (_, answer) in zip(texts, pairs, strict=True)]
            scores[label] = mean(hits)
        return Measurement(f"{name} {count} {unit}", self.problems, scores)

    def countdown(self, samples: int = 15) -> Measurement:
        """Share of four numbers that come to their target by right steps: greedily, one sample, any sample."""
        rng = self._rng("countdown")
        prompts = [numbers.countdown_problem(rng, 4)[0] for _ in range(self.problems)]
        room = 60
        greedy = [
            numbers.reaches(p, text) for p, (text,) in zip(prompts, self._sample(prompts, room, 0.0), strict=True)
        ]
        sampled = [
            [numbers.reaches(prompt, text) for text in texts]
            for prompt, texts in zip(prompts, self._sample(prompts, room, TEMPERATURE, samples), strict=True)
        ]
        scores = {
            "greedy": mean(greedy),
            "one sample": mean(hit for hits in sampled for hit in hits),
            f"any of {samples}": mean(any(hits) for hits in sampled),
        }
        return Measurement("make 4 numbers", self.problems, scores)

    def verdicts(self, operations: int, samples: int = 4) -> Measurement:
        """Share of right verdicts on the model's own solutions up to some line, by what would be right."""
        rng = self._rng(f"verdicts {operations}")
        asked = [arithmetic.generate_expression(rng, operations) for _ in range(self.problems)]
        questions = [arithmetic.render_question(expression) for expression in asked]
        written = self._sample(questions, 20 * operations + 8, TEMPERATURE, samples)
        made = (
            attempts.of_solution(expression, text)
            for expression, texts in zip(asked, written, strict=True)
            for text in texts
        )
        judged = [
            (attempt.prompt + text + verdicts.ASK, verdict)
            for attempt in made
            if attempt is not None
            for verdict in (True, False)
            if (text := attempt.up_to(verdict, rng)) is not None
        ]
        said = self._sample([prompt for prompt, _ in judged], 1, 0.0)
        hits: dict[bool, list[bool]] = {True: [], False: []}
        for (_, verdict), (text,) in zip(judged, said, strict=True):
            hits[verdict].append(text == (verdicts.RIGHT if verdict else verdicts.WRONG))
        scores = {"right ones": mean(hits[True] or [0]), "wrong ones": mean(hits[False] or [0])}
        return Measurement(f"verdict on {operations} operations", len(judged), scores)

    def arithmetic(self, operations: int, examples: int, *, steps: bool, samples: int = 15) -> Measurement:
        """Share of right answers after solved examples: greedy, one sample (mean), majority, and any sample."""
        name = f"arithmetic {operations} operations, {examples} examples, {'steps' if steps else 'answer only'}"
        rng = self._rng(name)
        asked = [arithmetic.generate_expression(rng, operations) for _ in range(self.problems)]
        prompts = [
            arithmetic.few_shot_prompt(arithmetic.solved_examples(rng, examples, operations, steps=steps), expression)
            for expression in asked
        ]
        truths = [arithmetic.evaluate(expression) for expression in asked]
        room = 20 * operations + 8 if steps else 8
        greedy = self._sample(prompts, room, 0.0)
        sampled = self._sample(prompts, room, TEMPERATURE, samples)
        answers = [[arithmetic.parse_answer(text) for text in texts] for texts in sampled]
        votes = [_majority(given) for given in answers]
        return Measurement(
            name,
            self.problems,
            {
                "greedy": mean(arithmetic.parse_answer(t) == truth for (t,), truth in zip(greedy, truths, strict=True)),
                "one sample": mean(a == truth for given, truth in zip(answers, truths, strict=True) for a in given),
                f"majority of {samples}": mean(vote == truth for vote, truth in zip(votes, truths, strict=True)),
                f"any of {samples}": mean(truth in given for given, truth in zip(answers, truths, strict=True)),
            },
        )

    def documents(self, count: int, samples: int = 5) -> Measurement:
        """Mean merge_score of `count` default documents: greedy, one sample (mean), best of `samples`."""
        name = f"merging {count} documents"
        rng = self._rng(name)
        problems = [contracts.generate_documents(rng, count) for _ in range(self.problems)]
        prompts = [contracts.render_prompt(problem) for problem in problems]
        room = 14 * max(len(contracts.merge_documents(problem)) for problem in problems)
        greedy = [
            contracts.merge_score(problem, contracts.parse_clauses(text))
            for problem, (text,) in zip(problems, self._sample(prompts, room, 0.0), strict=True)
        ]
        sampled = [
            [contracts.merge_score(problem, contracts.parse_clauses(text)) for text in texts]
            for problem, texts in zip(problems, self._sample(prompts, room, TEMPERATURE, samples), strict=True)
        ]
        return Measurement(
            name,
            self.problems,
            {
                "greedy": mean(greedy),
                "one sample": mean(score for scores in sampled for score in scores),
                f"best of {samples}": mean(map(max, sampled)),
                "perfect greedy": mean(score == 1 for score in greedy),
                "perfect one sample": mean(score == 1 for scores in sampled for score in scores),
            },
        )


def evaluate(evaluator: Evaluator) -> Iterator[Measurement]:
    """The measurements of the model card, in its order."""
    yield evaluator.lists("sort", lists.sort_problem, 32)
    yield evaluator.lists("sort", lists.sort_problem, 64)
    yield evaluator.lists("merge", lists.merge_problem, 64)
    yield evaluator.lists("fix", lists.fix_problem, 64)
    for operations in (2, 4, 6):
        yield evaluator.arithmetic(operations, 8, steps=True)
    yield evaluator.arithmetic(4, 8, steps=False)
    for count in (2, 3, 4):
        yield evaluator.documents(count)
    for count in (8, 16):
        yield evaluator.lists("meet", numbers.meet_problem, count, "numbers")
    yield evaluator.countdown()
    for operations in (4, 6):
        yield evaluator.verdicts(operations)
