"""The models that come with treereason. Standard library only: the command line asks before torch is imported."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

_PACKAGE = Path(__file__).resolve().parents[2]
EMBEDDED = _PACKAGE / "embedded"


class Shipped(NamedTuple):
    """A model that comes with treereason: its folder, and the style of its prompts."""

    folder: Path
    style: str


SHIPPED = {
    "embedded": Shipped(EMBEDDED, "embedded"),
    "embedded_spans": Shipped(_PACKAGE / "embedded_spans", "spans"),
}
"""By the name that model.name takes."""
