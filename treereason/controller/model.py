"""The model of a run and the engine that decodes on it: on this machine, or on a server."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from treereason.config.models import AnyModelConfig, RemoteModelConfig
from treereason.config.schema import KV_TOKENS_LIMIT, Config, EngineConfig
from treereason.controller.drafting import drafting
from treereason.controller.free_cores import free_cores
from treereason.core import Basis, Sampling, UserError
from treereason.core.spans import SpanPolicy, Spans
from treereason.engine.engine import PAGE_SIZE, Engine
from treereason.engine.model.compiled import Compiled
from treereason.engine.model.embedded import load_embedded
from treereason.engine.model.generation_rules import other_sampling
from treereason.engine.model.language_model import LanguageModel
from treereason.engine.model.shipped import SHIPPED
from treereason.profile import Profile

if TYPE_CHECKING:  # its packages are an extra
    from treereason.remote.engine import RemoteEngine
    from treereason.remote.server import Server

DETERMINISTIC = "engine.deterministic=true"
ANY_BRANCHES = "on this machine, whatever engine.max_branches is"
_log = logging.getLogger(__name__)


def load(config: AnyModelConfig, cpu: Compiled = "auto") -> LanguageModel | Server:
    """The configured model; cpu as `EngineConfig.cpu`.

    Raises UserError for a model that cannot be served, or a server that cannot be reached.
    """
    if isinstance(config, RemoteModelConfig):
        return _connect(config)
    device = "cpu" if config.device == "auto" and not torch.cuda.is_available() else config.device
    if config.name in SHIPPED and device == "cpu":
        return load_embedded(config.name, style=config.style, dtype=config.dtype, fused=config.fused, cpu=cpu)
    from treereason.engine.model.load import load_model  # seconds of imports

    options: dict[str, Any] = {"dtype": config.dtype, "device": config.device, "fused": config.fused, "cpu": cpu}
    return load_model(config.name, style=config.style, **options)


def _connect(config: RemoteModelConfig) -> Server:
    try:
        from treereason.remote.connect import connect
        from treereason.remote.server import Server
    except ModuleNotFoundError as error:
        raise UserError(f"model=openai needs {error.name}: pip install 'treereason[remote]'") from None
    server = Server(
        config.name,
        config.url,
        style=config.style,
        endpoint=config.endpoint,
        api_key=os.environ.get(config.api_key_env or "", "").strip(),
        concurrency=config.concurrency,
        timeout_s=config.timeout_s,
        max_retries=config.max_retries,
    )
    connect(server)
    _log.info("model.url=%s: %s", server.url, server.capabilities)
    return server


def model_options(model: LanguageModel | Server) -> dict[str, Any]:
    """The options of a loaded model, as a configuration holds them. Raises UserError for what is not a model."""
    if isinstance(model, LanguageModel):
        dtype = str(model.dtype).removeprefix("torch.")
        fused = model.fused != "off"
        return {"name": model.name, "style": model.style, "dtype": dtype, "device": str(model.device), "fused": fused}
    if hasattr(model, "url"):
        names = ("name", "url", "endpoint", "style", "concurrency", "timeout_s", "max_retries")
        return {name: getattr(model, name) for name in names}
    raise UserError(f"model={model!r}: give what treereason.load returns")


def cpu_option(model: LanguageModel | Server) -> Compiled:
    """The `engine.cpu` that a loaded model stands for."""
    if not isinstance(model, LanguageModel) or model.device.type != "cpu":
        return "auto"
    return "compiled" if model.attention == "compiled" else "torch"


def settled(config: Config, model: LanguageModel | Server) -> Config:
    """The configuration with what a server's `auto` has come to."""
    if not isinstance(config.model, RemoteModelConfig):
        return config
    found = {name: getattr(model, name) for name in ("endpoint", "style")}
    return config.model_copy(update={"model": config.model.model_copy(update=found)})


def repeats(
    config: Config, model: LanguageModel | Server, basis: Basis = Basis.ORACLE, spans: Spans | None = None
) -> str:
    """When a run of one seed gives the same results again, in words.

    basis: what the scorer's verdicts rest on. spans: the task's.
    """
    if config.budget.seconds is not None:
        return "not for certain: what budget.seconds cuts off depends on the machine's pace"
    if not isinstance(model, LanguageModel):
        return "as far as the server keeps to its seed"
    if config.scorer == "reward_model" and config.reward.batch_size > 1:
        return "on this machine, to the last digits of scores, which depend on what reward.batch_size puts together"
    # What others name cuts the nodes that a row reads, and so moves the last bits of its logits.
    if model.same_bits and (spans is None or config.engine.spans == "off"):
        return ANY_BRANCHES
    if not config.engine.deterministic and basis in (Basis.LABEL_FREE, Basis.JUDGE):
        # Texts do not depend on the last bits of logits, but these scores do, and may tip what is nearly equal.
        return (
            "on this machine with the same engine options, to the last digit of scores; with any under " + DETERMINISTIC
        )
    if config.engine.deterministic or model.dtype == torch.float32:
        return ANY_BRANCHES
    dtype = str(model.dtype).removeprefix("torch.")
    return f"on this machine with the same engine options ({dtype}); with any under {DETERMINISTIC}"


@contextmanager
def open_engine(
    config: Config,
    model: LanguageModel | Server,
    profile: Profile,
    statistics_for: str | None = None,
    spans: Spans | None = None,
) -> Iterator[Engine | RemoteEngine]:
    """The engine that decodes on the model. Its end frees the KV, or ends the requests in flight.

    statistics_for: the option that asks for token statistics, None where none does. spans: what the task says of
    attention spans. Raises UserError for a server, which does not tell them, and where the model's tokens do not suit
    the spans.
    """
    if isinstance(model, LanguageModel):
        if asked := other_sampling(model.generation, sampling_of(config)):
            _log.warning(
                "model.name=%s: its generation_config.json asks for other sampling than this run has: %s",
                model.name,
                asked,
            )
        drafts, policy = drafting(config, model), _policy(config, model, spans)
        if policy is not None and drafts.drafter is not None:
            raise UserError(f"speculative={config.speculative}: not with attention spans; take engine.spans=off")
        num_threads, told = _num_threads(config.engine, model)
        with _threads(num_threads):
            local = Engine(
                model,
                seed=config.seed,
                max_branches=config.engine.max_branches,
                prefill_tokens=config.engine.prefill_tokens,
                kv_tokens=_kv_tokens(config.engine, model.kv_bytes_per_token),
                deterministic=config.engine.deterministic,
                token_statistics=statistics_for is not None,
                drafter=drafts.drafter,
                row_budget=drafts.budget,
                graphs=config.engine.graphs,
                spans=policy,
                profile=profile,
            )
            local.threads, local.drafts = told, drafts.why
            yield local
        return
    if statistics_for is not None:
        raise UserError(
            f"{statistics_for}: needs the whole distribution of each token, and a server does not tell it: take a "
            "model on this machine, or scorer=likelihood"
        )
    from treereason.remote.engine import RemoteEngine

    with RemoteEngine(model, seed=config.seed, must_count=config.budget.tokens is not None) as engine:
        yield engine


def sampling_of(config: Config) -> Sampling:
    """How the run's tokens are drawn."""
    return Sampling(config.temperature, config.top_p, config.top_k, config.min_p)


def _policy(config: Config, model: LanguageModel, spans: Spans | None) -> SpanPolicy | None:
    """The policy of the task's spans, None without any. Raises UserError."""
    if spans is None or config.engine.spans == "off":
        return None
    try:
        return spans.policy(model.encode_text)
    except ValueError as error:
        raise UserError(f"task={config.task['name']} model.name={model.name}: {error}; take engine.spans=off") from None


def _kv_tokens(config: EngineConfig, bytes_per_token: int) -> int | None:
    """Size of the KV pool as configured, None for the engine's own choice. Raises UserError."""
    if config.kv_gib is None:
        return config.kv_tokens
    if config.kv_gib * 1024**3 > KV_TOKENS_LIMIT * bytes_per_token:
        raise UserError(f"engine.kv_gib={config.kv_gib:g}: more than {KV_TOKENS_LIMIT:,} tokens of KV; give less")
    return max(PAGE_SIZE, int(config.kv_gib * 1024**3) // bytes_per_token)


def _num_threads(config: EngineConfig, model: LanguageModel) -> tuple[int | None, str]:
    """As configured, None for torch's own number; on a busy machine fewer than all cores, and then that in words."""
    if config.threads is not None or model.device.type != "cpu":
        return config.threads, ""
    if model.name in SHIPPED:
        return 1, ""  # it is too small to gain from more (docs/log.md)
    free, most = free_cores(), torch.get_num_threads()
    if free is None or free >= most:
        return None, ""
    number = max(1, free)
    return number, f"{number} of {most}, as other processes keep the cores busy; engine.threads={most} takes all"


@contextmanager
def _threads(number: int | None) -> Iterator[None]:
    """Let torch compute with so many CPU threads inside, None for as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
