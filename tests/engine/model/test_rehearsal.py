"""A tokenizer that ends its process, and a chat template without end or bound, cost one line and not the run."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from treereason.core import UserError
from treereason.engine.model import rehearsal
from treereason.engine.model.load import EMBEDDED, load_model

VOCABULARY = json.loads((EMBEDDED / "tokenizer.json").read_text())["model"]["vocab"]
REPEAT = "{% for message in messages %}{{ message['content'] }}{% endfor %}"


@pytest.mark.parametrize(
    "change",
    [
        {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "/////////w=="}},
        {
            "model": {
                "type": "BPE",
                "vocab": {**VOCABULARY, "é": 67, "1é": 68},
                "merges": [["1", "é"]],
                "continuing_subword_prefix": "x",
            }
        },
    ],
)
def test_a_tokenizer_on_which_the_library_aborts_is_refused(change: dict[str, object], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(EMBEDDED, folder, ignore=shutil.ignore_patterns("__pycache__"))
    path = folder / "tokenizer.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(UserError, match=r"its tokenizer\.json cannot be used: reading it ends the process") as raised:
        load_model(str(folder), style="plain")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "takes more than 1 s"),
        pytest.param(
            "{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(40) }}",
            "more than 1 s",
            marks=pytest.mark.slow,
        ),
        ("{{ 'x' * 10**10 }}", "takes more than 4,294,967,296 bytes"),
        (REPEAT + "{{ 'x' * 10**7 }}", "gives more than 100,000 characters"),
        ("{{ raise_exception('\x1b]0;t\x07') }}", "cannot be used; use model.style=plain: ␛]0;t␇"),
        pytest.param("{% include '/etc/passwd' %}", "cannot be used; use model.style=plain", marks=pytest.mark.slow),
    ],
)
def test_a_chat_template_without_end_or_bound_is_refused(
    template: str, reason: str, chat_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(rehearsal.CPU_S, "template", 1)
    (chat_checkpoint / "chat_template.jinja").write_text(template)
    with pytest.raises(UserError) as raised:
        load_model(str(chat_checkpoint), style="chat")
    assert reason in str(raised.value)
    assert str(raised.value).isprintable()


def test_a_machine_that_starts_no_process_still_loads_a_model(
    chat_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    load_model(str(chat_checkpoint), style="chat")
