"""Tries the programs in a checkpoint, its tokenizer and its chat template, in a process that they may end or stall.

The tokenizers library aborts on some files, which nothing catches, and a chat template is a program that may go on for
ever: so each is tried once, before this process uses it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from treereason.core import UserError
from treereason.engine.model import rehearsal_worker
from treereason.engine.model.blaming import blaming
from treereason.engine.model.rehearsal_worker import CHARACTERS, LONG, MEMORY, MEMORY_BYTES

CPU_S = {"tokenizer": 30, "template": 5}  # large vocabularies take seconds to read
WAIT_S = 60  # the limit on CPU time comes first, but for a process that sleeps


def rehearse_tokenizer(name: str, path: Path, text: str) -> None:
    """Read a tokenizer.json and encode `text`. Raises UserError for what ends the process, or passes its limits."""
    if reason := _fault("tokenizer", path=str(path), text=text):
        raise UserError(f"model.name={name}: its tokenizer.json cannot be used: reading it {reason}")


def rehearse_template(name: str, template: str, messages: Sequence[dict[str, str]], values: dict[str, Any]) -> None:
    """Fill a chat template. values: of its other names. Raises UserError for what passes the limits."""
    if reason := _fault("template", text=template, messages=messages, values=values):
        raise UserError(
            f"model.name={name}: its chat template cannot be used; use model.style=plain: filling it in {reason}"
        )


def check_template(name: str, tokenizer: Any, style: str, text: str) -> None:
    """Fill the chat template of a model whose style is "chat", after a rehearsal. Raises UserError where it fails."""
    if style != "chat":
        return
    if not getattr(tokenizer, "chat_template", None):
        raise UserError(f"model.name={name}: its tokenizer has no chat template; use model.style=plain")
    messages = [{"role": "user", "content": text}]
    with blaming(name, "its chat template cannot be used; use model.style=plain"):
        rehearse_template(name, tokenizer.get_chat_template(), messages, tokenizer.special_tokens_map)
        tokenizer.apply_chat_template(messages, tokenize=False)


def _fault(what: str, **arguments: Any) -> str | None:
    """What went wrong, None for nothing that is looked for here."""
    # -P: not the folder of the script, whose neighbours have names of other packages.
    command = [sys.executable, "-P", rehearsal_worker.__file__, what]
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false"}  # a thread more is address space more
    try:
        done = subprocess.run(
            command,
            input=json.dumps({**arguments, "cpu_s": CPU_S[what]}, default=str).encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            timeout=WAIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"takes more than {WAIT_S} s"
    except OSError:  # no process can be started here
        return None
    if done.returncode == LONG:
        return f"gives more than {CHARACTERS:,} characters for a short prompt"
    if done.returncode == MEMORY:
        return f"takes more than {MEMORY_BYTES:,} bytes"
    if done.returncode < 0:
        return f"ends the process, or takes more than {CPU_S[what]} s (signal {-done.returncode})"
    return None
