"""A network of hashing, and what it gives by definition: one sequence at a time, without plan, pages or forest.

`HashModel` stands in for a language model behind the real engine: two layers of hashing over the slots that the step's
plan tells each row to read. A row that misses a token, reads one too many, or finds a page that someone else wrote to
gets other logits than `HashSequence`, and so other text and log-probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from treereason.core import Finish, Prompt, Sampling
from treereason.core.spans import EVERYTHING, SpanPolicy, View, view
from treereason.engine.attention.eager_step import AttentionKind, EagerStep
from treereason.engine.kv.cache import KVCache
from treereason.engine.steps.cuda_capture import Body
from treereason.engine.steps.sampler import sample
from treereason.engine.steps.sampling_rows import SamplingRows
from treereason.kernels.gpu.make_work import make_work
from treereason.kernels.gpu.work import NoPageLeft, stored_tokens
from treereason.kernels.plan import Plan

Uint64 = npt.NDArray[np.uint64]

VOCABULARY = 9
END = VOCABULARY - 1
MAX_POSITIONS = 90
LETTERS = "abcdefgh$"
NAN_EVERY = 211


def _mix(x: Uint64) -> Uint64:
    """Finaliser of splitmix64 (public domain), modulo 2^64."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _embed(tokens: Uint64, positions: Uint64) -> Uint64:
    """First layer's KV."""
    return _mix(tokens * np.uint64(1_000_003) + positions + np.uint64(17))


def _second(attended: Uint64, positions: Uint64) -> Uint64:
    """Second layer's KV."""
    return _mix(attended ^ (positions * np.uint64(0x9E3779B97F4A7C15)))


def _logits(attended: Uint64) -> torch.Tensor:
    """[N, V] float32 from the second layer's output [N]; now and then a row of NaN."""
    bits = _mix(attended[:, None] + np.arange(VOCABULARY, dtype=np.uint64)[None]) >> np.uint64(44)
    logits = torch.from_numpy(bits.astype(np.float32) / np.float32(2**20) * 4)
    logits[torch.from_numpy(attended % np.uint64(NAN_EVERY) == 0)] = float("nan")
    return logits


def _layers(cache: KVCache) -> list[Uint64]:
    """The KV of both layers, [num_slots] each: the cache's memory."""
    like = torch.zeros(1, 1, 1, dtype=torch.int64)
    return [cache.reserve(layer, like, like)[0][:, 0, 0].numpy().view(np.uint64) for layer in range(2)]


class HashModel:
    """What the engine asks of a model. KV are hashes: layer 2's depend on all that layer 1 of the row has read."""

    max_positions = MAX_POSITIONS
    vocabulary_size = VOCABULARY
    eos_ids = frozenset([END])
    style = "plain"
    attention: AttentionKind = "tree"
    device = torch.device("cpu")

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows

    def forward(self, step: EagerStep, rows: list[int]) -> torch.Tensor:
        assert len(step.token_ids) <= self._max_rows
        slots = step.slots.numpy()
        assert len(set(slots.tolist())) == len(slots), "two rows store into one slot"
        positions = step.positions.numpy().astype(np.uint64)
        values = _embed(step.token_ids.numpy().astype(np.uint64), positions)
        for layer, stored in enumerate(_layers(step.cache)):
            stored[slots] = values
            attended = self._attend(step, stored)
            if layer == 0:
                values = _second(attended, positions)
        return _logits(attended)[rows]

    def _attend(self, step: EagerStep, stored: Uint64) -> Uint64:
        plan = step.plan
        out = np.zeros(plan.num_rows, dtype=np.uint64)
        for node in range(plan.num_nodes):
            lo, hi = plan.node_lo[node], plan.node_hi[node]
            values = stored[plan.slots(node)]
            positions = plan.node_start[node] + np.arange(len(values))
            visible = positions[None] <= plan.row_position[lo:hi, None]
            out[lo:hi] += np.where(visible, values[None], np.uint64(0)).sum(axis=1, dtype=np.uint64)
        return out

    def encode(self, prompt: Prompt) -> tuple[list[int], int]:
        return [LETTERS.index(letter) for letter in prompt.shared + prompt.text], len(prompt.shared)

    def encode_text(self, text: str) -> list[int]:
        return [LETTERS.index(letter) for letter in text]

    def decode(self, tokens: list[int]) -> str:
        return "".join(LETTERS[token] for token in tokens)

    def token_text(self, token: int) -> str:
        return LETTERS[token]


class HashBackend:
    """Stands in for the static backend on a GPU: the page table of a plan that is loaded and advanced in place."""

    def __init__(self, plan: Plan) -> None:
        self._cut(plan)
        self.captured = False

    def load(self, plan: Plan) -> bool:
        self._cut(plan)
        self.captured = self.captured and plan.num_nodes % 5 != 0  # now and then it has outgrown its buffers
        return self.captured

    def advance(self, row_pages: Sequence[int]) -> bool:
        try:
            self.work.advance(np.array(row_pages, dtype=np.int32))
        except NoPageLeft:
            return False
        return True

    def _cut(self, plan: Plan) -> None:
        self.work = make_work(plan, block_rows=4, tile_pages=2, num_spans=3)


class HashGraphStep:
    """As engine.attention.graph_step.GraphStep."""

    def __init__(self, cache: KVCache, plan: Plan, num_rows: int) -> None:
        self.cache = cache
        self.backend = HashBackend(plan)
        self.num_rows = num_rows


class GraphModel(HashModel):
    """The same on a machine that captures. A replay reads what is in the buffers then, the plan's in place."""

    attention: AttentionKind = "triton"
    capturing = False

    def capture(self, body: Body) -> Body:
        self.capturing = True
        body()
        self.capturing = False
        return body

    def forward_all(self, token_ids: torch.Tensor, positions: torch.Tensor, step: HashGraphStep) -> torch.Tensor:
        assert len(token_ids) == len(positions) == step.num_rows
        assert self.capturing or step.backend.captured, "a replay over buffers that were given up"
        step.backend.captured = True
        work = step.backend.work
        num_rows = len(work.row_slot)
        assert positions.tolist() == [*work.row_position.tolist(), *[0] * (step.num_rows - num_rows)]
        assert len(set(work.row_slot.tolist())) == num_rows, "two rows store into one slot"
        where = positions.numpy()[:num_rows].astype(np.uint64)
        values = _embed(token_ids.numpy()[:num_rows].astype(np.uint64), where)
        for layer, stored in enumerate(_layers(step.cache)):
            stored[work.row_slot] = values
            attended = np.zeros(num_rows, dtype=np.uint64)
            for piece, lo in enumerate(work.piece_lo.tolist()):
                for page in range(2 * work.piece_first[piece], 2 * work.piece_last[piece]):
                    slot, seen, start = work.page_slot[page], work.page_seen[page], work.page_start[page]
                    rows = slice(lo + (seen & 0xFF), lo + (seen >> 8 & 0xFF))
                    values_of_page = stored[slot : slot + stored_tokens(seen)]
                    visible = start + np.arange(len(values_of_page)) <= work.row_position[rows, None]
                    assert visible.all() or page >= 2 * work.piece_mixed[piece], "a tile without a mask needs one"
                    attended[rows] += np.where(visible, values_of_page, np.uint64(0)).sum(axis=1, dtype=np.uint64)
            if layer == 0:
                values = _second(attended, where)
        padding = torch.full((step.num_rows - num_rows, VOCABULARY), float("nan"))
        return torch.cat([_logits(attended), padding])


class HashSequence:
    """The same network over one sequence, token after token, each of which sees what the policy says."""

    def __init__(self, policy: SpanPolicy | None = None) -> None:
        self.num_tokens = 0
        self._policy = policy
        self._state = policy.start() if policy else None
        self._sums = np.zeros((2, MAX_POSITIONS + 1), dtype=np.uint64)  # of each layer's KV in front of a position
        self._attended = np.zeros(1, dtype=np.uint64)

    def read(self, tokens: Sequence[int]) -> None:
        """Go on by these tokens."""
        for token in tokens:
            position, view = self.num_tokens, EVERYTHING
            if self._policy:
                self._state, view = self._policy.read(self._state, token, position)
            where = np.array([position], dtype=np.uint64)
            values = _embed(np.array([token], dtype=np.uint64), where)
            for layer, sums in enumerate(self._sums):
                sums[position + 1] = (sums[position : position + 1] + values)[0]
                spans = np.array([*view.earlier, (view.own, position + 1)])
                attended = (sums[spans[:, 1]] - sums[spans[:, 0]]).sum(dtype=np.uint64, keepdims=True)
                values = _second(attended, where) if layer == 0 else values
            self._attended = attended
            self.num_tokens += 1

    def logits(self) -> torch.Tensor:
        """[1, V] of the next token."""
        return _logits(self._attended)


@dataclass(frozen=True)
class RandomPolicy:
    """Views by hash of all tokens so far: now and then, a token opens others and closes what was open. A SpanPolicy."""

    seed: int

    def start(self) -> tuple[int, View]:
        return self.seed, EVERYTHING

    def read(self, state: tuple[int, View], token: int, position: int) -> tuple[tuple[int, View], View]:
        number, seen = state
        number = int(_mix(np.array([number * 31 + token + 1], dtype=np.uint64))[0] >> np.uint64(8))
        if number % 3 == 0:
            borders = sorted((number >> shift) % (position + 1) for shift in (2, 7, 12, 17, 22))
            seen = view([(borders[0], borders[1]), (borders[2], borders[3])], borders[4])
        return (number, seen), seen


@dataclass(frozen=True)
class Answer:
    """What a thought is by definition. tokens: all that a continuation goes on from. num_own: of its own."""

    text: str
    tokens: tuple[int, ...]
    num_own: int
    logprob: float
    finish: Finish | None
    stop: str = ""
    error: str | None = None


def text_of(tokens: Sequence[int]) -> str:
    return "".join(LETTERS[token] for token in tokens)


def decode_alone(
    prompt_tokens: list[int], prompt: Prompt, sampling: Sampling, key: int, policy: SpanPolicy | None = None
) -> Answer:
    """A branch by its definition: one token after another, from nothing but the tokens before it."""
    sequence, own, logprob = HashSequence(policy), list[int](), 0.0
    sequence.read(prompt_tokens)
    while True:
        logits = sequence.logits()
        so_far = Answer(text_of(own), (*prompt_tokens, *own), len(own), logprob, None)
        if bool(logits.isnan().any()):
            return replace(so_far, error=_no_numbers(sequence))
        drawn, drawn_logprob = sample(
            logits,
            torch.tensor([key]),
            torch.tensor([sequence.num_tokens]),
            SamplingRows.of([sampling]),
        )
        own.append(int(drawn[0]))
        sequence.read(own[-1:])
        logprob += float(drawn_logprob[0])
        text = text_of(own)
        answer = Answer(text, (*prompt_tokens, *own), len(own), logprob, Finish.LENGTH)
        if own[-1] == END and not prompt.ignore_end:
            return replace(answer, text=text[:-1], tokens=answer.tokens[:-1], finish=Finish.END)
        if found := [(text.index(stop), -len(stop), stop) for stop in prompt.stop if stop in text]:
            return replace(answer, text=text[: min(found)[0]], finish=Finish.STOP, stop=min(found)[2])
        if len(own) == min(prompt.max_tokens, MAX_POSITIONS - len(prompt_tokens)):
            return answer


def measure_alone(prompt_tokens: list[int], text: str, policy: SpanPolicy | None = None) -> Answer:
    """A given text by its definition: each token's log-probability after all before it."""
    sequence, logprob, error = HashSequence(policy), 0.0, None
    sequence.read(prompt_tokens)
    own = [LETTERS.index(letter) for letter in text]
    for token in own:
        logits = sequence.logits()
        if bool(logits.isnan().any()):
            error = error or _no_numbers(sequence)
        logprob += float(logits.log_softmax(dim=1)[0, token])
        sequence.read([token])
    return Answer(text, (*prompt_tokens, *own), len(own), logprob, Finish.GIVEN, error=error)


def _no_numbers(sequence: HashSequence) -> str:
    return f"the model returned logits that are NaN or infinite at position {sequence.num_tokens}"
