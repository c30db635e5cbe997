"""The validated configuration of a run: what hydra composed, checked at the border."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from treereason.config.models import LOCAL, LONGEST_S, REMOTE, AnyModelConfig, RemoteModelConfig
from treereason.config.secrets import without_password
from treereason.config.strict import Strict
from treereason.core import UserError
from treereason.text import LONGEST_VALUE, from_home, shorten, shown

KV_TOKENS_LIMIT = 2**28  # more than memories hold; the pool lists its pages, and plans number its slots in int32
THREADS_LIMIT = 1024  # OpenMP dies where the system refuses it a thread
BRANCHES_LIMIT = 2**16  # each branch has rows of logits, and each problem in work a coroutine
PREFILL_LIMIT = 2**20  # rows of one step; models read no longer prompts
DETERMINISTIC_LIMIT = 2**14  # rows of every step, used or not
GIB_LIMIT = 2**16  # more than machines have
TOKENS_LIMIT = 2**40  # years of decoding
MOST_TOP_K = 2**20  # vocabularies have fewer tokens
WORKERS_LIMIT = 256  # each loads the model
HOTTEST = 100.0  # all tokens are equally likely long before

Speculative = Literal["auto", "siblings", "model", "none"]


class EngineConfig(Strict):
    """How much is done at once, and how. In float32 none of it changes results."""

    max_branches: Annotated[
        int,
        Field(
            ge=1,
            le=BRANCHES_LIMIT,
            description="at most this many branches decode together; changes no result in float32",
        ),
    ] = 256
    parallel_problems: Annotated[
        int, Field(ge=1, le=BRANCHES_LIMIT, description="at most this many problems are in work at once")
    ] = 64
    prefill_tokens: Annotated[
        int, Field(ge=1, le=PREFILL_LIMIT, description="at most this many prompt tokens are computed in one step")
    ] = 2048
    kv_tokens: Annotated[
        Annotated[int, Field(ge=1, le=KV_TOKENS_LIMIT)] | None,
        Field(description="tokens that the KV memory holds; null: decided from the model and the free memory"),
    ] = None
    kv_gib: Annotated[
        Annotated[float, Field(gt=0, le=GIB_LIMIT)] | None, Field(description="the same in GiB, instead of kv_tokens")
    ] = None
    threads: Annotated[
        Annotated[int, Field(ge=1, le=THREADS_LIMIT)] | None,
        Field(description="CPU threads; null: one for the included model, all idle cores for others"),
    ] = None
    deterministic: Annotated[
        bool,
        Field(
            description="true: a branch gets the same logits, bit for bit, whatever decodes beside it; slow, because "
            "each step has max_branches + prefill_tokens rows"
        ),
    ] = False
    token_statistics: Annotated[
        bool,
        Field(
            description="true: thoughts hold entropy, self-certainty and confidence of each token; scorers that need "
            "them turn it on by themselves"
        ),
    ] = False
    spans: Annotated[
        Literal["auto", "off"],
        Field(
            description="auto: a task may say which lines of its text a token sees, and only these are read "
            "(docs/spans.md); off: every token sees everything"
        ),
    ] = "auto"
    graphs: Annotated[
        bool,
        Field(
            description="false: on a GPU, decode steps are computed operation by operation, not replayed from graphs; "
            "slower"
        ),
    ] = True
    cpu: Annotated[
        Literal["auto", "torch", "compiled"],
        Field(
            description="on a CPU, auto: kernels in C++ where a compiler is found, compiled once a machine, else "
            "torch's operations; torch: those alone; compiled: refuse to do without"
        ),
    ] = "auto"
    profile: Annotated[bool, Field(description="true: print where the time goes")] = False

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.kv_tokens is not None and self.kv_gib is not None:
            raise UserError("give engine.kv_tokens or engine.kv_gib, not both")
        if self.deterministic and self.max_branches + self.prefill_tokens > DETERMINISTIC_LIMIT:
            raise UserError(
                f"engine.deterministic=true: computes max_branches + prefill_tokens rows in every step: "
                f"together they may be {DETERMINISTIC_LIMIT:,}, not {self.max_branches + self.prefill_tokens:,}"
            )
        return self


class BudgetConfig(Strict):
    """What one problem may spend; None is without limit."""

    tokens: Annotated[
        Annotated[int, Field(ge=1, le=TOKENS_LIMIT)] | None,
        Field(
            description="at most this many tokens are decoded per problem; near the end there are fewer and shorter "
            "children; "
            "null: no limit"
        ),
    ] = None
    seconds: Annotated[
        Annotated[float, Field(gt=0, le=LONGEST_S)] | None,
        Field(description="wall time per problem, with scoring; near the end children are shorter; null: no limit"),
    ] = None


class ConfidenceConfig(Strict):
    """Of the scorers lowest_group_confidence and tail_confidence; the defaults are those of arXiv 2508.15260."""

    window: Annotated[
        int, Field(ge=1, le=TOKENS_LIMIT, description="scorer=lowest_group_confidence: tokens of a group")
    ] = 2048
    tail: Annotated[
        int, Field(ge=1, le=TOKENS_LIMIT, description="scorer=tail_confidence: tokens at the end that count")
    ] = 2048


class JudgeConfig(Strict):
    """Of the scorers judge_value and judge_vote."""

    samples: Annotated[
        int,
        Field(ge=1, le=1024, description="scorer=judge_value, judge_vote: grades or votes that the model is asked for"),
    ] = 3


class RewardConfig(Strict):
    """Of scorer=reward_model."""

    model: Annotated[
        Annotated[str, Field(min_length=1)] | None,
        Field(
            description="scorer=reward_model: folder of a sequence classification model of transformers, or of a token "
            "classification model, which scores steps; must be given"
        ),
    ] = None
    aggregate: Annotated[
        Literal["last", "min", "prod", "mean"], Field(description="of the scores of steps, up to the thought")
    ] = "last"
    step: Annotated[
        Literal["line", "paragraph"], Field(description="a step ends with a line, or with a paragraph (an empty line)")
    ] = "line"
    batch_size: Annotated[
        int,
        Field(
            ge=1,
            le=256,
            description="thoughts computed together, which is faster; above 1 the last digits of scores depend on what "
            "else is scored",
        ),
    ] = 1
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"], Field(description="as model.dtype, of the reward model")
    ] = "auto"
    device: Annotated[
        str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="as model.device, of the reward model")
    ] = "auto"


class DraftConfig(Strict):
    """Of speculative decoding."""

    model: Annotated[
        Annotated[str, Field(min_length=1)] | None,
        Field(
            description="speculative=model, auto: folder, GGUF file or hub id of a small model with the same "
            "vocabulary, which decodes ahead"
        ),
    ] = None
    depth: Annotated[int, Field(ge=1, le=64, description="tokens that are proposed to follow each other, at most")] = 8
    width: Annotated[
        int, Field(ge=1, le=8, description="speculative=siblings, auto: continuations that are proposed, at most")
    ] = 1

    @field_validator("model")
    @classmethod
    def _home(cls, name: str | None) -> str | None:
        return name and from_home(name)


class Config(Strict):
    """One run. `task` and `search` hold the name of a class and its options."""

    task: dict[str, Any]
    search: dict[str, Any]
    model: AnyModelConfig
    plugins: Annotated[
        list[str],
        Field(description="modules to import, as package.module or ./mine.py, for the names that they register"),
    ] = []  # noqa: RUF012  # pydantic copies it
    scorer: Annotated[
        Annotated[str, Field(min_length=1)] | None,
        Field(
            description="how thoughts are scored: a name of the lists below, ./mine.py:my_scorer or "
            "package.module:my_scorer; null: the task's own"
        ),
    ] = None
    temperature: Annotated[
        float, Field(ge=0, le=HOTTEST, description="sampling temperature; 0 takes the most likely token")
    ] = 0.7
    top_p: Annotated[
        float,
        Field(
            gt=0,
            le=1,
            description="sample only from the most likely tokens that together have this probability; above 0, up to 1",
        ),
    ] = 1.0
    top_k: Annotated[
        int, Field(ge=0, le=MOST_TOP_K, description="sample only from so many of the most likely tokens; 0: from all")
    ] = 0
    min_p: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="sample only from tokens whose probability is at least this share of the most likely one's",
        ),
    ] = 0.0
    seed: Annotated[
        int,
        Field(
            ge=0,
            lt=2**63,
            description="same seed, same results (in bfloat16 with the same engine options); generated problems "
            "depend on it, too",
        ),
    ] = 0
    baseline: Annotated[
        Literal["greedy", "none"],
        Field(description="greedy: answer every problem once more at temperature 0, to compare; none: do not"),
    ] = "greedy"
    display: Annotated[
        Literal["auto", "rich", "plain", "json", "none"],
        Field(description="auto, rich (live), plain (lines), json (events as lines on stdout) or none"),
    ] = "auto"
    workers: Annotated[
        int,
        Field(
            ge=1,
            le=WORKERS_LIMIT,
            description="processes that share the problems, each with a model of its own: one a GPU, or the cores are "
            "shared out; changes no result that engine.max_branches does not change",
        ),
    ] = 1
    launcher: Annotated[
        Literal["processes", "ray"],
        Field(description="where workers run: processes of this machine, or actors of a Ray cluster"),
    ] = "processes"
    scorer_timeout_s: Annotated[
        float, Field(gt=0, le=LONGEST_S, description="a scorer that takes more seconds fails its thought")
    ] = 10.0
    scorer_load_timeout_s: Annotated[
        float,
        Field(gt=0, le=LONGEST_S, description="seconds that a scorer may take to load, a model of its own included"),
    ] = 120.0
    speculative: Annotated[
        Speculative,
        Field(
            description="several tokens of a branch a step, with the same results: siblings proposes what other texts "
            "of the problem say after the same words, model what a small model says; auto does so where it is measured "
            "to pay; none: one token a step"
        ),
    ] = "none"
    draft: DraftConfig = DraftConfig()
    engine: EngineConfig = EngineConfig()
    budget: BudgetConfig = BudgetConfig()
    confidence: ConfidenceConfig = ConfidenceConfig()
    judge: JudgeConfig = JudgeConfig()
    reward: RewardConfig = RewardConfig()

    @model_validator(mode="after")
    def _who_drafts(self) -> Self:
        here = not isinstance(self.model, RemoteModelConfig)
        if here and self.speculative == "model" and self.draft.model is None:
            raise UserError("speculative=model: give draft.model=FOLDER, a small model with the same vocabulary")
        return self

    @field_validator("plugins", mode="before")
    @classmethod
    def _one_or_more(cls, given: Any) -> Any:
        return [given] if isinstance(given, str) else given


def parse(values: Mapping[str, Any]) -> Config:
    """The configuration in plain values; a mistake becomes a UserError that names the option."""
    try:
        return Config.model_validate(dict(values))
    except ValidationError as error:
        raise UserError(explain(error)) from None


def explain(error: ValidationError, prefix: str = "") -> str:
    """All mistakes in one line, each with its option and value. A UserError raised inside passes unchanged.

    prefix: the option, or group of options, that was checked.
    """
    lines = []
    for item in error.errors(include_url=False):
        inner = item.get("ctx", {}).get("error")
        if isinstance(inner, UserError):
            return str(inner)
        inside = ".".join(str(part) for part in item["loc"] if part not in (LOCAL, REMOTE))
        option = f"{prefix}.{inside}" if prefix and inside else prefix + inside
        reason = str(inner) if inner is not None else item["msg"].removeprefix("Input ")
        if item["type"] == "missing":
            lines.append(f"{option} is missing: give {option}=VALUE")
        elif item["type"] == "extra_forbidden":
            lines.append(f"no option is called {option}: `treereason --help` lists them")
        else:
            given = item["input"]
            value = shorten(without_password(given), LONGEST_VALUE) if isinstance(given, str) else shown(given)
            lines.append(f"{option}={value}: {reason}")
    return "; ".join(dict.fromkeys(lines))
