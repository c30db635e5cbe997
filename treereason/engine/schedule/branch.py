"""A branch: one child, from its first token until a stop string, the end, or a limit; or with a text that is given."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from time import perf_counter

from treereason.core import Cost, Decoded, Finish, Prompt, Sampling, ThoughtPath, TokenStatistics
from treereason.engine.kv.forest import Node
from treereason.engine.model.language_model import LanguageModel
from treereason.engine.model.path_text import PathText
from treereason.engine.schedule.prompt_text import PromptText
from treereason.engine.schedule.stop_strings import find_stop


@dataclass(eq=False, repr=False)
class Branch:
    """`tokens` were drawn for it, or given. Once `done`, `tail` holds those of its path whose KV is not in the forest.

    node: it has a reference on it; its path ends with the last token before the tail. max_tokens: most own tokens that
    it may get.
    statistics: of its tokens' distributions, where the engine computes them. key: its name for the sampler. above: the
    text in front of it. text: its own, as far as it has been read from `path_text`, the path's with its tokens.
    num_before: tokens that it had before it was resumed.
    """

    problem: str
    path: ThoughtPath
    node: Node
    prompt: Prompt
    sampling: Sampling = field(default_factory=Sampling)
    key: int = 0
    max_tokens: int = 0
    cost: Cost = field(default_factory=Cost)
    tokens: list[int] = field(default_factory=list)
    logprob: float = 0.0
    statistics: TokenStatistics | None = None
    text: str = ""
    path_text: PathText = field(default_factory=PathText)
    above: PromptText = field(default_factory=PromptText)
    done: bool = False
    started: float = field(default_factory=perf_counter)
    tail: list[int] = field(default_factory=list)
    finish: Finish | None = None
    stop: str = ""
    error: str | None = None
    num_before: int = 0

    def __repr__(self) -> str:
        """Short, because its node holds the forest."""
        state = self.error or self.finish or "decoding"
        return f"<Branch {self.problem}:{'.'.join(map(str, self.path))}, {len(self.tokens)} tokens, {state}>"

    def accept(self, token: int, logprob: float, model: LanguageModel) -> None:
        """Take a sampled token: go on with it, or be done."""
        self.tokens.append(token)
        self.logprob += logprob
        self.cost.tokens_decoded += 1
        if token in model.eos_ids and not self.prompt.ignore_end:
            self._end(Finish.END)
        elif self._stopped(token, model):
            self._end(Finish.STOP, [token])
        elif len(self.tokens) == self.max_tokens:
            self._end(Finish.LENGTH, [token])
        else:
            self.node.tokens.append(token)

    def repeat(self, known: Decoded, model: LanguageModel) -> None:
        """Come to the end that is known of it, without computing anything: its tokens wait as after an eviction."""
        before = list(self.node.tokens)
        for token in known.token_ids:
            self.accept(token, 0.0, model)
        if known.error is not None:
            self.fail(known.error)
        elif not self.done:  # its limit was another one
            self._end(known.finish, self.tokens[-1:])
        if self.finish is not Finish.GIVEN:
            self.node.tokens = before + self.tokens[self.num_before : -1]  # of the last one no KV is ever computed
        self.logprob = 0.0 if known.logprob is None else known.logprob
        self.statistics, self.cost = known.token_statistics and known.token_statistics.copy(), known.cost

    def measure(self, rows: Iterable[Sequence[float]]) -> None:
        """Take the statistics of further tokens, in order."""
        if self.statistics is None:
            self.statistics = TokenStatistics()
        self.statistics.extend(rows)

    def read(self, model: LanguageModel) -> None:
        """Bring `text` up to date. What a stop string has cut off stays unread: it belongs to whatever comes next."""
        if self.finish not in (Finish.STOP, Finish.GIVEN):
            self.text += self.path_text.read(model.decode)

    def fail(self, error: str) -> None:
        """End it with an error; its text is what had been decoded until then."""
        self.error = error
        self._end(None)

    def fail_at(self, position: int) -> None:
        """End it because the model gave no probabilities for a position."""
        self.fail(f"the model returned logits that are NaN or infinite at position {position}")

    def reopened(self, node: Node, prompt: Prompt, sampling: Sampling, max_tokens: int) -> Branch:
        """A branch that goes on where this one ended at its limit; its `node` ends with this one's last token."""
        assert self.finish is Finish.LENGTH
        node.growing = True
        return Branch(
            problem=self.problem,
            path=self.path,
            node=node,
            prompt=prompt,
            sampling=sampling,
            key=self.key,
            max_tokens=max_tokens,
            tokens=list(self.tokens),
            logprob=self.logprob,
            statistics=self.statistics and self.statistics.copy(),
            text=self.text,
            path_text=self.path_text,
            above=self.above,
            num_before=len(self.tokens),
        )

    def decoded(self, model: LanguageModel) -> Decoded:
        """What the engine answers, once it is done."""
        self.read(model)
        return Decoded(
            self.problem,
            self.path,
            self.text,
            self.logprob,
            self.cost,
            self.error,
            finish=self.finish,
            stop=self.stop,
            prompt=self.above.seen,
            num_tokens=len(self.tokens),
            token_statistics=self.statistics,
            token_ids=tuple(self.tokens[self.num_before :]) if self.finish is not Finish.GIVEN else (),
        )

    def _end(self, finish: Finish | None, tail: list[int] | None = None) -> None:
        self.finish, self.tail, self.done = finish, tail or [], True
        self.cost.seconds = perf_counter() - self.started
        if self.node.growing:  # a given text's node never does, and may be evicted
            del self.node.tokens[self.node.num_cached :]
            self.node.growing = False

    def _stopped(self, token: int, model: LanguageModel) -> bool:
        """Take the token's text; whether it completes a stop string. What it says behind that stays unread."""
        # A stop string can only be complete once its last character has come; "�" is a part of a character.
        last = model.token_text(token) if self.prompt.stop else ""
        if not any(stop[-1] in last or "�" in last for stop in self.prompt.stop):
            self.path_text.push([token])
            return False
        self.read(model)
        before, num_before = self.path_text.copy(), len(self.text)
        self.path_text.push([token])
        self.read(model)
        written = self.above.written
        found = find_stop(self.prompt.stop, written + self.text, len(self.text) - num_before)
        if found is None:
            return False
        start, end = max(0, found[0] - len(written)), found[1] - len(written)
        if end < len(self.text):
            before.push([token])
            before.ahead += self.text[num_before:end]
            self.path_text = before
        self.text, self.stop = self.text[:start], self.text[start:end]
        return True
