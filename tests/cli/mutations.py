"""Command lines that nobody should type: right ones, broken at random."""

from __future__ import annotations

import random

OPTIONS = (
    "task", "search", "model", "scorer", "seed", "temperature", "top_p", "display", "baseline", "task.path",
    "task.limit", "task.length", "task.words", "search.k", "search.b", "search.steps", "search.n", "model.name",
    "model.style", "model.dtype", "model.device", "model.url", "engine", "engine.max_branches", "engine.kv_tokens",
    "engine.kv_gib", "engine.threads", "engine.deterministic", "engine.prefill_tokens", "budget.tokens",
    "budget.seconds", "scorer_timeout_s", "hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir", "hydra.job.name",
    "hydra.job.chdir", "hydra.mode", "hydra.verbose", "hydra.output_subdir", "hydra.searchpath", "hydra.job.env_set.A",
    "hydra.callbacks", "hydra.callbacks.x._target_", "hydra.launcher", "hydra.launcher._target_", "hydra.sweeper",
    "hydra.sweeper._target_", "hydra.sweeper.params", "hydra.job_logging.handlers.x.class", "hydra/job_logging",
    "hydra/launcher", "hydra.hydra_logging.formatters.x.()", "hydra", "experiment", "hydra.job.config",
)  # fmt: skip
VALUES = (
    "", "null", "true", "False", "0", "-1", "1e9", "1e999", "nan", "-inf", "9" * 30, "9" * 5000, "2024_11_05", "007",
    "0x10", "sorting", "few_shot", "best_of_n", "embedded", "./mine.py", "./mine.py:Shout", "./broken.py", "mine:Wide",
    '"./mine (1).py"', "./nowhere.py:f", "lists.csv", ".", "/", "/dev/null/x", "~", "~/x", "~nobody/x", "a" * 300,
    "a/" * 3000,
    "[]", "{}", "[1,2]", "{a:b}", "{_target_:subprocess.call,args:[touch,executed]}", "1,2", ",", "range(0,0)",
    "range(0,3)",
    "range(0,1e12)", "range(0,10,0)", "shuffle(range(0,1e10))", "choice()", "choice(a,b)", "interval(0,1)", "glob(*)",
    "glob(zz*)", "tag(a,b)", "int(x)", "str([1,2])", "json_str(a)", "sort(2,1)", "[/x]", "\x1b]0;t\x07", "\u202e", "é",
    "\udcff",
    "${seed}", "${nowhere}", "${task}", "${hydra:runtime.cwd}", "${oc.env:HOME}", "${oc.env:NOT_SET_AT_ALL}",
    "${now:%Q}",
    "${oc.create:{_target_: os.system}}", "${", "${a${b}", "\\${x}", "'", '"', '"a', "a'b", "(", "[[[[", "[" * 400,
    "a=b",
    "subprocess.call", "os.system", "builtins.exec", "logging.os.system", "posix.system", "RUN", "MULTIRUN", "\t", " ",
    "\n", "cuda:99999999999", "http://[", "https://x/" + "y" * 100, "pkg://nowhere", "file://nowhere", "???",
)  # fmt: skip
PREFIXES = (*[""] * 12, "+", "+", "++", "~", "-", "@")
FLAGS = (
    "-m", "-m", "-m", "--cfg=job", "--cfg", "--info", "--info=nothing", "--resolve", "--help", "-sc",
    "--config-dir=conf", "--config-dir=nowhere", "--version", "--", "-x", "--hydra-help", "--config-dir=" + "a" * 300,
)  # fmt: skip


def command_line(number: int) -> list[str]:
    """Line `number` of the endless list."""
    rng = random.Random(number)
    words = [_word(rng) for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5)))]
    if rng.random() < 0.25:
        words.insert(rng.randrange(len(words) + 1), rng.choice(FLAGS))
    return words


def _word(rng: random.Random) -> str:
    key, value = rng.choice(OPTIONS), rng.choice(VALUES)
    if rng.random() < 0.15:
        value = ",".join(rng.choices(VALUES, k=rng.randrange(2, 4)))
    if rng.random() < 0.1:
        value = f'"{value}"'
    word = f"{rng.choice(PREFIXES)}{key}={value}"
    for _ in range(rng.choice((0, 0, 0, 0, 1, 3))):
        at = rng.randrange(len(word) + 1)
        word = word[:at] + rng.choice(("", "=", ".", ",", "\\", "'", "$", "@", "/", "\x00", "🙂")) + word[at + 1 :]
    return word
