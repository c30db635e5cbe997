"""OpenVINO GenAI as a side of `benchmarks.decode`: continuous batching with its prefix cache.

KV cache and arithmetic have the row's dtype; by default it would choose lower precisions. Samples of one prompt are one
request with num_return_sequences, which is quicker than as many requests; tokens that several prompts share are
decoded before them, because the cache knows only what is finished.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np

from benchmarks.decode_case import Case, Job, Model, Side

PACKAGES = ("openvino-genai",)
BLOCK = 32  # tokens
EXPORT = (
    "import sys; from optimum.exporters.openvino import main_export; main_export(sys.argv[1], output=sys.argv[2],"
    " task='text-generation-with-past', library_name='transformers', convert_tokenizer=False)"
)


def side(model: Model) -> Side:
    """Converts the model on first use, in a process of its own: the converter imports torch and more."""
    genai: Any = importlib.import_module("openvino_genai")
    openvino: Any = importlib.import_module("openvino")
    exported = model.folder / "openvino"
    if not exported.exists():
        subprocess.run([sys.executable, "-c", EXPORT, str(model.folder), str(exported)], check=True)
    scheduler = genai.SchedulerConfig()
    scheduler.enable_prefix_caching = True
    scheduler.cache_size = 2  # GB
    scheduler.max_num_batched_tokens = 2048
    precision = {"float32": "f32", "bfloat16": "bf16"}[model.dtype]
    properties = {
        "INFERENCE_PRECISION_HINT": precision,
        "KV_CACHE_PRECISION": precision,
        "INFERENCE_NUM_THREADS": model.threads,
    }
    pipeline = genai.ContinuousBatchingPipeline(str(exported), scheduler, "CPU", properties)

    def decode(prompts: Iterable[tuple[int, ...]], branches: int, tokens: int, temperature: float) -> list[list[int]]:
        inputs = [openvino.Tensor(np.array([prompt], dtype=np.int64)) for prompt in prompts]
        configs = []
        for seed, _ in enumerate(inputs):
            config = genai.GenerationConfig()
            config.max_new_tokens = tokens
            config.ignore_eos = True
            config.eos_token_id, config.stop_token_ids = 0, {0}  # a model without one is refused
            if temperature:
                config.do_sample, config.temperature, config.top_k, config.top_p = True, temperature, 0, 1.0
                config.num_return_sequences, config.rng_seed = branches, seed
            configs.append(config)
        found = [list(ids) for answer in pipeline.generate(inputs, configs) for ids in answer.m_generation_ids]
        return found if temperature else [ids for ids in found for _ in range(branches)]

    def ready(case: Case) -> Job:
        def job() -> list[list[int]]:
            if len(case.own) > 1 and len(case.shared) >= BLOCK:
                decode([case.shared[: len(case.shared) // BLOCK * BLOCK]], 1, 1, 0.0)
            prompts, decoded = [case.shared + own for own in case.own], []
            for branches, tokens in case.levels:
                found = decode(prompts, branches, tokens, case.temperature)
                decoded += found
                prompts = [prompts[i // branches] + tuple(ids) for i, ids in enumerate(found)]
            return decoded

        return job

    return ready
