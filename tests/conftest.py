"""Fixtures of all tests."""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Read when Triton is first imported: its kernels then run on a CPU. Without this file (`make gpu`) they are compiled.
os.environ.setdefault("TRITON_INTERPRET", "1")

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from tests import quick_interpreter
from tests.fakes import CONFIGS, DATA, OWN_DATA, LetterTokenizer
from treereason.engine.model.language_model import LanguageModel

torch.set_num_threads(int(os.environ.get("TREEREASON_TEST_THREADS", "1")))


@pytest.fixture(scope="session", autouse=True)
def _interpreter_is_quick() -> None:
    if "triton.runtime.interpreter" in sys.modules:
        quick_interpreter.quicken()


@pytest.fixture
def tiny_model() -> Callable[[str], tuple[LanguageModel, PreTrainedModel]]:
    """Builds a random model of a kind: the engine's view of it, and an untouched `eager` twin."""

    def build(kind: str) -> tuple[LanguageModel, PreTrainedModel]:
        torch.manual_seed(0)
        auto: Any = AutoModelForCausalLM
        network = auto.from_config(CONFIGS[kind](), attn_implementation="eager", dtype=torch.float32)
        if kind == "gpt_oss":
            for layer in network.model.layers:
                torch.nn.init.normal_(layer.self_attn.sinks, std=2.0)
        twin = copy.deepcopy(network)
        twin.train(False)
        twin.set_attn_implementation("eager")
        return LanguageModel(network, LetterTokenizer(), "plain"), twin

    return build


@pytest.fixture(
    params=[folder for folder in (OWN_DATA, DATA) if folder.is_dir()], ids=lambda folder: folder.parent.name
)
def data(request: pytest.FixtureRequest) -> Path:
    """Folder of problem files and recorded searches: ours, and the published ones where they are at hand."""
    folder: Path = request.param
    return folder
