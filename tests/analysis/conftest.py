"""Runs of the shipped model, recorded once for all tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

import treereason as tr
from treereason.api import load
from treereason.core import Search, Task
from treereason.engine.model.language_model import LanguageModel


@pytest.fixture(scope="session")
def model() -> LanguageModel:
    return load("embedded")


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory, model: LanguageModel) -> Path:
    """A folder of runs on the same 8 problems: vote_6, vote_3, best_4 (by the oracle), likely_4 (label-free), tree."""
    folder = tmp_path_factory.mktemp("recorded")
    task = tr.tasks.FewShot(operations=3, limit=8)
    stepwise = tr.tasks.FewShot(operations=3, limit=8, stepwise=True)
    searches: dict[str, tuple[Task, Search, str]] = {
        "vote_6": (task, tr.search.SelfConsistency(n=6), "exact_match"),
        "vote_3": (task, tr.search.SelfConsistency(n=3), "exact_match"),
        "best_4": (task, tr.search.BestOfN(n=4), "exact_match"),
        "likely_4": (task, tr.search.BestOfN(n=4), "likelihood"),
        "tree": (stepwise, tr.search.TreeOfThoughts(k=3, b=2, steps=6), "steps_hold"),
    }
    for name, (problems, search, scorer) in searches.items():
        tr.run(problems, search, model, scorer=scorer, folder=folder / name, threads=1)
    return folder
