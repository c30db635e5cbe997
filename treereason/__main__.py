"""`python -m treereason` is `treereason`."""

import sys

from treereason.cli import main

sys.exit(main())
