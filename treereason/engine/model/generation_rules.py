"""What a checkpoint's generation_config.json asks for: rules that are not kept here, and sampling that a run sets."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any

from treereason.core import Sampling

NEUTRAL: dict[str, Any] = {
    "repetition_penalty": 1, "encoder_repetition_penalty": 1, "encoder_no_repeat_ngram_size": 0,
    "no_repeat_ngram_size": 0, "bad_words_ids": [], "sequence_bias": [],
    "suppress_tokens": [], "begin_suppress_tokens": [], "forced_bos_token_id": None, "forced_eos_token_id": None,
    "min_length": 0, "min_new_tokens": 0, "exponential_decay_length_penalty": None, "stop_strings": [],
    "typical_p": 1, "top_h": None, "epsilon_cutoff": 0, "eta_cutoff": 0, "guidance_scale": 1, "token_healing": False,
    "watermarking_config": None, "num_beams": 1, "penalty_alpha": 0, "dola_layers": None, "constraints": None,
    "force_words_ids": None,
}  # fmt: skip
"""Rules of transformers' `generate` that change which tokens come, each with the value that changes nothing."""
SAMPLING = ("temperature", "top_k", "top_p", "min_p")


def rules_left_out(config: Mapping[str, Any]) -> str:
    """The rules that are not kept here, as "name=value, ..."; "" when there is none.

    config: the values of a GenerationConfig.
    """
    asked = {name: config.get(name) for name in NEUTRAL}
    return _listed({name: value for name, value in asked.items() if value not in (None, {}, NEUTRAL[name])})


def other_sampling(config: Mapping[str, Any], sampling: Sampling) -> str:
    """The sampling that the checkpoint asks for where it differs from the run's, as "name=value, ..."."""
    if config.get("do_sample") is False or sampling.greedy:
        return ""
    asked = {name: config.get(name) for name in SAMPLING}
    return _listed({name: value for name, value in asked.items() if value not in (None, getattr(sampling, name))})


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={reprlib.repr(value)}" for name, value in values.items())
