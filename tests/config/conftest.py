"""The command line of tests/cli, for what an option becomes on its way."""

from tests.cli.conftest import runs as runs
