"""One run from a checked configuration to a run folder: model, engine, search, record, display."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from treereason import events
from treereason.config.schema import KV_TOKENS_LIMIT, Config, RemoteModelConfig
from treereason.config.user_files import load as load_reference
from treereason.controller.budget import Budget
from treereason.controller.run_spec import RunSpec
from treereason.controller.runner import Runner
from treereason.core import Sampling, Search, UserError
from treereason.display.base import Display
from treereason.engine.engine import PAGE_SIZE, Engine
from treereason.engine.model.language_model import LanguageModel
from treereason.engine.model.load import load_model
from treereason.profile import Profile
from treereason.record.journal import Journal
from treereason.record.results import Results
from treereason.record.summary import Summary
from treereason.scoring.process import Scoring
from treereason.scoring.verdict import kind_of
from treereason.search.single_sample import SingleSample
from treereason.text import as_typed

if TYPE_CHECKING:  # its packages are an extra
    from treereason.remote.engine import RemoteEngine
    from treereason.remote.server import Server

JOURNAL = "journal.sqlite"
MAX_KV_TOKENS = 128 * 1024
KV_SHARE_OF_MEMORY = 0.25


def load(config: Config) -> LanguageModel | Server:
    """The configured model. Raises UserError for one that cannot be served, or a server that cannot be reached."""
    if isinstance(config.model, RemoteModelConfig):
        return _connect(config.model)
    threads = config.engine.threads
    if threads is None and config.model.name == "embedded":
        threads = 1  # it is too small to gain from more (docs/log.md)
    if threads is not None:
        torch.set_num_threads(threads)
    return load_model(config.model.name, style=config.model.style, dtype=config.model.dtype, device=config.model.device)


def _connect(config: RemoteModelConfig) -> Server:
    try:
        from treereason.remote.server import Server
    except ModuleNotFoundError as error:
        raise UserError(f"model=openai needs {error.name}: pip install 'treereason[remote]'") from None
    server = Server(
        config.name,
        config.url,
        style=config.style,
        api_key=os.environ.get(config.api_key_env or "", "").strip(),
        concurrency=config.concurrency,
        timeout_s=config.timeout_s,
        max_retries=config.max_retries,
    )
    server.probe()
    return server


def run_experiment(
    job: RunSpec,
    model: LanguageModel | Server,
    folder: Path,
    screen: Display | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Run and record; returns what summary.json holds.

    screen: shows the run; None shows nothing. stopped: asked between two steps; yes ends the run early, and cleanly.
    """
    config = job.config
    screen = screen or Display()
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        journal = stack.enter_context(Journal(folder / JOURNAL))
        results = stack.enter_context(Results(folder))
        summary = Summary()
        stack.enter_context(screen)
        scorer = load_reference(job.scorer)
        async_scorer = None
        if kind_of(scorer) == "async":  # it asks the model, so it runs here and not in a process of its own
            async_scorer = scorer() if isinstance(scorer, type) else scorer
        scoring = Scoring(
            job.scorer,
            config.scorer_timeout_s,
            load_reference,
            load_timeout_s=config.scorer_load_timeout_s,
            log=folder / "scorer.log",
            start=async_scorer is None,
        )
        stack.callback(scoring.close)

        profile = Profile()

        def emit(event: events.Event) -> None:
            with profile.measure("record and display"):
                for sink in (journal, results, summary, screen):
                    sink(event)

        engine = _engine(config, model, stack, profile)
        passes: list[tuple[str, Search, float]] = [("search", job.search, config.temperature)]
        if config.baseline == "greedy":
            passes.append(("greedy", SingleSample(), 0.0))
        for name, algorithm, temperature in passes:
            if stopped():
                break
            emit(_started(job, name))
            Runner(
                engine=engine,
                scoring=scoring,
                task=job.task,
                search=algorithm,
                sampling=Sampling(temperature, config.top_p),
                parallel_problems=config.engine.parallel_problems,
                emit=emit,
                seed=config.seed,
                scorer=scorer_name(job),
                async_scorer=async_scorer,
                budget=lambda: Budget(config.budget.tokens, config.budget.seconds),
                stopped=stopped,
                profile=profile,
            ).run(job.problems)
        status = "interrupted" if stopped() else "done"
        results.close()
        if config.engine.profile:
            summary.extra["profile"] = profile.shares()
        summary.write(folder, status)
        emit(events.RunDone(status, summary.as_dict(status), as_typed(str(folder))))
    return summary.as_dict(status)


def _engine(config: Config, model: LanguageModel | Server, stack: ExitStack, profile: Profile) -> Engine | RemoteEngine:
    if isinstance(model, LanguageModel):
        return Engine(
            model,
            seed=config.seed,
            max_branches=config.engine.max_branches,
            prefill_tokens=config.engine.prefill_tokens,
            kv_tokens=_kv_tokens(config, model),
            deterministic=config.engine.deterministic,
            profile=profile,
        )
    from treereason.remote.engine import RemoteEngine

    return stack.enter_context(RemoteEngine(model, seed=config.seed, must_count=config.budget.tokens is not None))


def scorer_name(job: RunSpec) -> str:
    """What the run's scorer is called in the record."""
    return job.scorer.rpartition(":")[2].removeprefix("SCORERS.")


def _started(job: RunSpec, pass_name: str) -> events.RunStarted:
    config = job.config
    return events.RunStarted(
        task=as_typed(config.task["name"]),
        search=as_typed(config.search["name"]),
        model=config.model.name,
        scorer=scorer_name(job),
        seed=config.seed,
        num_problems=len(job.problems),
        pass_name=pass_name,
        config=config.model_dump(mode="json"),
        program=job.program,
        overrides=job.overrides,
        scorer_oracle=bool(getattr(load_reference(job.scorer), "oracle", False)),
    )


def _kv_tokens(config: Config, model: LanguageModel) -> int:
    """Size of the KV pool: as configured, else a quarter of its device's free memory, at most MAX_KV_TOKENS."""
    if config.engine.kv_tokens is not None:
        return config.engine.kv_tokens
    if config.engine.kv_gib is not None:
        if config.engine.kv_gib * 1024**3 > KV_TOKENS_LIMIT * model.kv_bytes_per_token:
            raise UserError(
                f"engine.kv_gib={config.engine.kv_gib:g}: more than {KV_TOKENS_LIMIT:,} tokens of KV; give less"
            )
        return max(PAGE_SIZE, int(config.engine.kv_gib * 1024**3) // model.kv_bytes_per_token)
    on_gpu = model.device.type == "cuda"
    free_bytes = torch.cuda.mem_get_info(model.device)[0] if on_gpu else _free_memory_bytes()
    return max(PAGE_SIZE, min(MAX_KV_TOKENS, int(free_bytes * KV_SHARE_OF_MEMORY) // model.kv_bytes_per_token))


def _free_memory_bytes() -> int:
    """Memory that new allocations can have without swapping (Linux); 4 GiB where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return 4 * 1024**3
