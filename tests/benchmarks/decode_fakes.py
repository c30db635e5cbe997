"""Sides for tests of `benchmarks.decode_worker`, which run in a process of their own."""

from __future__ import annotations

import importlib
import sys

from benchmarks.decode_case import Case, Job, Model, Side

PACKAGES = ("treereason",)


def counting(model: Model) -> Side:
    """Every branch decodes 0, 1, 2 and so on; prints what is no answer."""
    sys.stdout.write(f"loads {model.dtype} with {model.threads} threads")

    def ready(case: Case) -> Job:
        counts, count = [], len(case.own)
        for branches, tokens in case.levels:
            count *= branches
            counts += [tokens] * count
        return lambda: [list(range(tokens)) for tokens in counts]

    return ready


def short(model: Model) -> Side:
    """Decodes a token less than it is asked for."""
    side = counting(model)
    return lambda case: lambda: [tokens[:-1] for tokens in side(case)()]


def missing(_: Model) -> Side:
    """Needs what nobody has."""
    importlib.import_module("a_package_that_nobody_has")
    raise AssertionError
