"""treereason: tree search over language models on a token forest that is computed, stored and read once."""

from pathlib import Path

__version__ = "0.1.0"

# In a checkout, kernels/, tasks/ and conf/ lie beside this package and import as treereason.kernels and so on.
_checkout = Path(__file__).resolve().parent.parent
if (_checkout / "pyproject.toml").is_file():
    __path__.append(str(_checkout))
