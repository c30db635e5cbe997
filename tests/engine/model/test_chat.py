"""Prompts for instruction models go through the tokenizer's chat template, and still share what they have in common."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes import slow
from treereason.cli.main import main
from treereason.core import Prompt
from treereason.engine.model.load import load_model


def test_a_chat_prompt_is_rendered_once_and_shares_its_head(chat_checkpoint: Path) -> None:
    model = load_model(str(chat_checkpoint), style="chat")
    tokens, num_shared = model.encode(Prompt("2+2", shared="123:"))
    assert model.decode(tokens) == "Q 123:2+2\nA "
    assert model.decode(tokens[:num_shared]) == "Q 123:"
    assert model.encode(Prompt("2+2"))[1] == 0


ROLES = (
    "{% set letters = {'system': '*', 'user': 'Q', 'assistant': 'A'} %}"
    "{% for message in messages %}{{ letters[message['role']] }}{{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}A{% endif %}"
)
TALK = Prompt("3+3", system="00", turns=(("1+1", "2"), ("2+2", "4")))


def test_system_text_and_turns_go_through_the_chat_template(chat_checkpoint: Path) -> None:
    model = load_model(str(chat_checkpoint), style="chat")
    model.tokenizer.chat_template = ROLES
    tokens, num_shared = model.encode(TALK)
    assert model.decode(tokens) == ("*00\nQ1+1\nA2\nQ2+2\nA4\nQ3+3\nA")
    # Without a shared text, turns are the problem's own, and the system text is every problem's.
    assert model.decode(tokens[:num_shared]) == "*00\nQ"
    tokens, num_shared = model.encode(replace(TALK, shared="5:"))
    assert model.decode(tokens[:num_shared]) == "*00\nQ1+1\nA2\nQ2+2\nA4\nQ5:"


def test_without_a_chat_template_system_text_and_turns_stand_in_front(chat_checkpoint: Path) -> None:
    model = load_model(str(chat_checkpoint), style="plain")
    prompt = replace(TALK, shared="5:")
    tokens, num_shared = model.encode(prompt)
    assert model.decode(tokens) == prompt.plain == "001+122+245:3+3"
    assert model.decode(tokens[:num_shared]) == "001+122+245:"


@pytest.mark.parametrize(
    ("template", "line"),
    [
        (
            "{{ raise_exception('System role not supported') if messages[0]['role'] == 'system' }}",
            "the model's chat template refuses the prompt: System role not supported",
        ),
        (
            "{% for message in messages if message['role'] != 'system' %}{{ message['content'] }}{% endfor %}",
            "the model's chat template leaves out the system text: put it into the prompt's text",
        ),
    ],
)
def test_a_template_without_system_text_is_a_line(template: str, line: str, chat_checkpoint: Path) -> None:
    model = load_model(str(chat_checkpoint), style="chat")
    model.tokenizer.chat_template = template
    with pytest.raises(ValueError, match=f"^{line}$"):
        model.encode(TALK)
    assert model.encode(replace(TALK, system=""))[0] or "refuses" in line


@pytest.mark.parametrize(
    ("task", "style"),
    [
        ("sorting", "chat"),
        ("few_shot", "plain"),
        *slow(("sorting", "plain"), ("few_shot", "chat"), ("choices", "chat"), ("choices", "plain")),
        *slow(("document_merging", "chat"), ("document_merging", "plain")),
    ],
)
def test_every_task_runs_on_a_model_from_a_folder(task: str, style: str, chat_checkpoint: Path, tmp_path: Path) -> None:
    overrides = [f"task={task}", "task.limit=2", "search.k=2", "search.steps=2", "display=none", "baseline=none"]
    overrides += {"sorting": ["task.length=8"], "few_shot": ["task.examples=2"]}.get(task, [])
    model = ["model=transformers", f"model.name={chat_checkpoint}", f"model.style={style}", "engine.threads=1"]
    exit_code = main([*overrides, *model, f"hydra.run.dir={tmp_path / 'run'}"])
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert summary["problems_done"] == 2
    assert exit_code == (3 if summary["failed"] == 2 else 0)  # its weights are random
    assert summary["tokens_decoded"] > 0
