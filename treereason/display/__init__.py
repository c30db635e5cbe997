"""What a person sees while a run is going on; reads events only."""

from treereason.display.modes import Display, Mode, display

__all__ = ["Display", "Mode", "display"]
