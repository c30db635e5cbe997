"""What tests of several folders share: tiny random models, a tokenizer of letters, a scripted engine, paths."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from transformers import (
    Gemma2Config,
    Gemma3TextConfig,
    GptOssConfig,
    GraniteConfig,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    Olmo2Config,
    Phi3Config,
    Qwen2Config,
    Qwen3Config,
)

from tests.lanes import slow as slow
from treereason import events
from treereason.controller.budget import Budget
from treereason.controller.runner import Runner
from treereason.core import (
    Cost,
    Decoded,
    Expansion,
    Finish,
    Problem,
    Prompt,
    Request,
    Resumption,
    Sampling,
    Score,
    Search,
    Task,
    Thought,
    ThoughtPath,
    Writing,
)
from treereason.kernels.cpu.library import CannotCompile, prepare

ROOT = Path(__file__).resolve().parent.parent
OWN_DATA = ROOT / "tests" / "data"
"""Small files that we made up, in the formats of graph-of-thoughts (CSV) and DeFT (JSON)."""
DATA = ROOT.parent / "shared" / "data"
"""The files that graph-of-thoughts and DeFT published; they lie beside the checkout on some developers' machines."""


HANG_S = 60.0
"""Longer than anything in a test takes: what lasts as long hangs, and the test fails."""


def wait_until(condition: Callable[[], bool]) -> None:
    """Return as soon as the condition holds; AssertionError when it seems that it never will."""
    deadline = time.monotonic() + HANG_S
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


VOCABULARY = 64
COMMON: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 256,
    "initializer_range": 0.15,  # large, so that attention is far from uniform and a missing feature shows
}
CONFIGS: dict[str, Any] = {
    "llama": lambda: LlamaConfig(**COMMON),
    "qwen3": lambda: Qwen3Config(**COMMON),
    "mistral": lambda: MistralConfig(**COMMON, sliding_window=6),
    "gemma2": lambda: Gemma2Config(**COMMON, sliding_window=6, attn_logit_softcapping=1.0, query_pre_attn_scalar=16),
    "qwen2": lambda: Qwen2Config(**COMMON),
    "gemma3": lambda: Gemma3TextConfig(**COMMON, sliding_window=6, query_pre_attn_scalar=16, pad_token_id=0),
    "phi3": lambda: Phi3Config(**{k: v for k, v in COMMON.items() if k != "head_dim"}, pad_token_id=0),
    "olmo2": lambda: Olmo2Config(**COMMON, pad_token_id=0),
    "granite": lambda: GraniteConfig(**COMMON, attention_multiplier=0.2),
    "mixtral": lambda: MixtralConfig(**COMMON, num_local_experts=2, num_experts_per_tok=1),
    "gpt_oss": lambda: GptOssConfig(**COMMON, sliding_window=6, num_local_experts=2, num_experts_per_tok=1),
}


class LetterTokenizer:
    """One token a character: chr(32) is 0, and the last id is the end."""

    eos_token_id = VOCABULARY - 1

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:  # noqa: ARG002
        return {"input_ids": [(ord(letter) - 32) % (VOCABULARY - 1) for letter in text]}

    def get_added_vocab(self) -> dict[str, int]:
        return {}

    def decode(self, tokens: list[int], skip_special_tokens: bool = True) -> str:  # noqa: ARG002
        return "".join(chr(token + 32) for token in tokens)


Script = Callable[[ThoughtPath], str | None]


class ScriptedEngine:
    """Decodes what the script says for a path, one request's child a step, last submitted first; None is an error.

    A token is a letter of the text: a child ends at its limit with what fits, and can be resumed. Texts have the
    log-probability that `likely` says, minus their length where nothing is said.
    """

    style = "plain"

    def __init__(self, script: Script, likely: Callable[[str], float] = lambda text: -float(len(text))) -> None:
        self.script = script
        self.likely = likely
        self.requests: list[Request] = []
        self.dropped: list[ThoughtPath] = []
        self.ended: list[str] = []
        self._texts: dict[tuple[str, ThoughtPath], str] = {}
        self._queue: list[tuple[Request, ThoughtPath]] = []
        self._known: list[Decoded] = []

    @property
    def expansions(self) -> list[Expansion]:
        return [request for request in self.requests if isinstance(request, Expansion)]

    @property
    def busy(self) -> bool:
        return bool(self._queue or self._known)

    def submit(self, request: Request, known: Mapping[ThoughtPath, Decoded] | None = None) -> None:
        self.requests.append(request)
        known = known or {}
        self._known += known.values()
        self._texts |= {(request.problem, path): decoded.text for path, decoded in known.items()}
        self._queue += [(request, path) for path in request.children if path not in known]

    def step(self) -> tuple[list[Decoded], None]:
        if self._known:
            return [self._known.pop()], None
        request, path = self._queue.pop()
        name = request.problem
        whole = self.script(path)
        if whole is None:
            cost = Cost(1, 0 if isinstance(request, Writing) else 1, 3)
            return [Decoded(name, path, "", -1.0, cost, "out of pages")], None
        if isinstance(request, Writing):
            text = request.texts[request.children.index(path)]
            self._texts[name, path] = text
            likely = self.likely(text)
            return [Decoded(name, path, text, likely, Cost(len(text)), None, Finish.GIVEN, num_tokens=len(text))], None
        before = self._texts.get((name, path), "") if isinstance(request, Resumption) else ""
        text = whole[: len(before) + request.prompt.max_tokens]
        self._texts[name, path] = text
        finish = Finish.END if text == whole else Finish.LENGTH
        cost = Cost(1, len(text) - len(before), 3)
        return [Decoded(name, path, text, self.likely(text), cost, None, finish, num_tokens=len(text))], None

    def stop(self, problem: str, error: str) -> None:
        self.stopped = [(problem, error)]

    def drop(self, problem: str, path: ThoughtPath) -> None:  # noqa: ARG002
        self.dropped.append(path)

    def kv_tokens(self, problem: str, paths: Sequence[ThoughtPath]) -> int:
        """A letter is a token and a page of its own."""
        held = {path[:depth] for path in paths for depth in range(1, len(path) + 1)}
        return sum(len(self._texts.get((problem, path), "")) for path in held)

    def end_problem(self, problem: str) -> int:
        self.ended.append(problem)
        return 42


class ScriptedLines(ScriptedEngine):
    """Each text that ends is a line, which a stop string has ended."""

    def step(self) -> tuple[list[Decoded], None]:
        [decoded], _ = super().step()
        return [replace(decoded, finish=Finish.STOP) if decoded.finish is Finish.END else decoded], None


class InstantScoring:
    """Scores in the test's own process, all that waits at each poll; a text is an error."""

    def __init__(self, scorer: Callable[[Thought], Score | str]) -> None:
        self.scorer = scorer
        self._queue: list[Thought] = []

    def submit(self, thought: Thought) -> None:
        self._queue.append(thought)

    def poll(self, wait_s: float) -> list[tuple[Thought, Score | str]]:  # noqa: ARG002
        scored, self._queue = self._queue, []
        return [(thought, self.scorer(thought)) for thought in scored]

    def stop(self, problem: str, error: str) -> list[tuple[Thought, Score | str]]:
        assert {thought.problem.id for thought in self._queue} <= {problem}
        stopped, self._queue = self._queue, []
        return [(thought, error) for thought in stopped]


@dataclass
class NumberTask:
    """Thoughts are numbers; `steps` of them make an answer. The target is the problem's input."""

    steps: int = 1
    scorer: str = "value"

    def problems(self, seed: int) -> Sequence[Problem]:
        return [Problem(str(seed), 9)]

    def prompt(self, thought: Thought, style: str) -> Prompt | None:  # noqa: ARG002
        return None if thought.depth == self.steps else Prompt("", appended=self.steps > 1 and thought.depth > 0)

    def parse(self, thought: Thought) -> int | None:
        return int(thought.text) if thought.depth == self.steps else None

    def solved(self, problem: Problem, answer: Any) -> bool:
        return bool(answer == problem.input)


def value(thought: Thought) -> Score | str:
    """A number's own value; 9 is final."""
    return Score(float(thought.text), final=thought.text == "9")


@dataclass
class Outcome:
    """What a search on a scripted engine left behind."""

    engine: ScriptedEngine
    log: list[events.Event] = field(default_factory=list)

    @property
    def done(self) -> events.ProblemDone:
        [done] = [event for event in self.log if isinstance(event, events.ProblemDone)]
        return done

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.log if isinstance(event, kind)]


def run_search(
    search: Search,
    script: Script,
    task: Task | None = None,
    scorer: Any = value,
    budget: Callable[[], Budget] = Budget,
    likely: Callable[[str], float] = lambda text: -float(len(text)),
    inline_scorer: Any = None,
    problems: Sequence[Problem] = (Problem("p", 9),),
    engine: type[ScriptedEngine] = ScriptedEngine,
    style: str = "plain",
    parallel_problems: int = 2,
    sampling: Sampling | None = None,
) -> Outcome:
    """Run a search on a scripted engine; over one problem, called p, unless others are given."""
    outcome = Outcome(engine(script, likely))
    outcome.engine.style = style
    Runner(
        engine=outcome.engine,
        scoring=InstantScoring(scorer),  # type: ignore[arg-type]
        task=task or NumberTask(),
        search=search,
        sampling=sampling or Sampling(),
        parallel_problems=parallel_problems,
        emit=outcome.log.append,
        scorer="value",
        inline_scorer=inline_scorer,
        budget=budget,
    ).run(problems)
    return outcome


def digits(path: ThoughtPath) -> str:
    """A script: a thought's text is its own rank."""
    return str(path[-1])


def compiles() -> bool:
    """Whether there are compiled CPU kernels on this machine."""
    try:
        prepare()
    except CannotCompile:
        return False
    return True
