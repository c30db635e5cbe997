"""What a person sees while a run is going on; reads events only."""

from treereason.display.base import Display
from treereason.display.modes import Mode, display

__all__ = ["Display", "Mode", "display"]
