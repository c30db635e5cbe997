"""The parts of a run that its specification decides: passes, scorer, and what the engine must tell of tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from treereason.config.scorers import scorer_options, title_of
from treereason.config.user_files import load as load_reference
from treereason.controller.own_scorers import name_of
from treereason.controller.run_spec import RunSpec
from treereason.core import Scorer, Search
from treereason.scoring.process import Scoring
from treereason.scoring.verdict import kind_of
from treereason.search.single_sample import SingleSample
from treereason.text import as_typed

SCORER_LOG = "scorer.log"


def statistics_for(spec: RunSpec) -> str | None:
    """The option that asks for token statistics, itself or by what it names; None where none does."""
    asking = {
        "engine.token_statistics=true": spec.config.engine.token_statistics,
        f"scorer={scorer_name(spec)}": getattr(scorer_of(spec), "token_statistics", False),
        f"search={as_typed(spec.config.search['name'])}": getattr(spec.search, "token_statistics", False),
    }
    return next((option for option, asks in asking.items() if asks), None)


def inline_scorer(spec: RunSpec) -> Scorer | None:
    """The scorer where it runs beside the search: one that asks the model, or that no other process can import."""
    scorer: Scorer | type[Scorer] = scorer_of(spec)
    if isinstance(spec.scorer, str) and kind_of(scorer) not in ("async", "async batch"):
        return None
    return scorer(**scorer_options(scorer, spec.config)) if isinstance(scorer, type) else scorer


def start_scoring(spec: RunSpec, folder: Path | None, *, start: bool) -> Scoring:
    """The process that scores. start: now; else it starts when it is first needed."""
    return Scoring(
        spec.scorer if isinstance(spec.scorer, str) else "",
        spec.config.scorer_timeout_s,
        load_reference,
        options=scorer_options(scorer_of(spec), spec.config),
        load_timeout_s=spec.config.scorer_load_timeout_s,
        log=folder / SCORER_LOG if folder is not None else None,
        start=start,
    )


def scorer_of(spec: RunSpec) -> Any:
    return load_reference(spec.scorer) if isinstance(spec.scorer, str) else spec.scorer


def scorer_name(spec: RunSpec) -> str:
    """What the run's scorer is called in the record."""
    if isinstance(spec.scorer, str):
        return title_of(spec.scorer)
    return name_of(spec.scorer)


def passes(spec: RunSpec) -> list[tuple[str, Search, float]]:
    """Name, search and temperature of each pass over the problems."""
    passes: list[tuple[str, Search, float]] = [("search", spec.search, spec.config.temperature)]
    if spec.config.baseline == "greedy":
        passes.append(("greedy", SingleSample(), 0.0))
    return passes
