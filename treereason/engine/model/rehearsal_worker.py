"""Reads a tokenizer, or fills a chat template, under limits; for rehearsal.py, which starts it as a script.

stdin has one JSON object, the arguments of `tokenizer` or of `template`; both take `cpu_s`, the CPU seconds that they
may use. The exit code is MEMORY or LONG for what passes a limit, and 0 for all else: other faults are found, and said,
by the process that asks.
"""

from __future__ import annotations

import json
import resource
import sys
from typing import Any

MEMORY_BYTES = 4 * 1024**3
CHARACTERS = 100_000
MEMORY, LONG = 3, 4


def tokenizer(path: str, text: str, cpu_s: int) -> None:
    from tokenizers import Tokenizer

    _limit(cpu_s)
    found = Tokenizer.from_file(path)
    found.decode(found.encode(text).ids)


def template(text: str, messages: list[dict[str, str]], values: dict[str, Any], cpu_s: int) -> None:
    from transformers.utils.chat_template_utils import render_jinja_template

    _limit(cpu_s)
    filled: Any = render_jinja_template([messages], chat_template=text, add_generation_prompt=True, **values)
    if len(filled[0][0]) > CHARACTERS:
        sys.exit(LONG)


def _limit(cpu_s: int) -> None:
    """Limits from here on; what was imported before takes its own time."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime) + 1 + cpu_s
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    try:
        arguments: dict[str, Any] = json.load(sys.stdin)
        tokenizer(**arguments) if sys.argv[1] == "tokenizer" else template(**arguments)
    except MemoryError:
        sys.exit(MEMORY)
    except BaseException as error:
        sys.exit(error.code if isinstance(error, SystemExit) else 0)
