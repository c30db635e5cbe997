"""The shipped model, loaded once."""

from __future__ import annotations

import pytest

import treereason as tr
from treereason.engine.model.language_model import LanguageModel


@pytest.fixture(scope="session")
def model() -> LanguageModel:
    return tr.load("embedded")
