"""`python -m treereason` is `treereason`."""

from treereason.cli import console

console()
