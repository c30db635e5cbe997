"""A chat template that shows the date shows the run's, so that the run repeats tomorrow."""

from __future__ import annotations

import datetime as clock
from pathlib import Path
from typing import Any

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from treereason.cli.main import main
from treereason.core import Prompt
from treereason.engine.model import language_model
from treereason.engine.model.dated_template import pinned
from treereason.engine.model.load import load_model
from treereason.events import RunStarted
from treereason.record import read

DAY = clock.date(2026, 2, 3)
LLAMA = (
    "{%- if not date_string is defined %}{%- if strftime_now is defined %}"
    "{%- set date_string = strftime_now('%d %b %Y') %}{%- else %}{%- set date_string = '26 Jul 2024' %}{%- endif %}"
    "{%- endif %}Today: {{ date_string }}\n{{ messages[-1]['content'] }}"
)
MISTRAL = "{%- set today = strftime_now('%Y-%m-%d') %}{{ today }}: {{ messages[-1]['content'] }}"
IN_A_MACRO = (
    "{%- macro day() %}{{ strftime_now('%A, %-d. %B') }}{%- endmacro %}{{ day() }} {{ messages[-1]['content'] }}"
)


def render(template: str) -> str:
    rendered: Any = render_jinja_template([[{"role": "user", "content": "hi"}]], chat_template=template)
    return str(rendered[0][0])


@pytest.mark.parametrize(
    ("template", "text"),
    [(LLAMA, "Today: 03 Feb 2026\nhi"), (MISTRAL, "2026-02-03: hi"), (IN_A_MACRO, "Tuesday, 3. February hi")],
)
def test_templates_in_use_show_the_day_that_is_given(template: str, text: str) -> None:
    assert render(pinned(template, DAY)) == text


LETTERS = "aAbBcCdDeFgGhHIjklmMnpPrRsStTuUVwWxXyYzZ"
FORMS = [
    *(f"%{letter}" for letter in LETTERS), *(f"%-{letter}" for letter in "dmyHIjklM"), "%_d", "%0e", "%^b", "%#B",
    "%Ey", "%Od", "100%% of %d/%m", "%%d", "%Y%%%m", "%", "%d %", "no day",
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_format_of_python_is_filled_as_python_does(form: str) -> None:
    assert render(pinned(f"{{{{ strftime_now('{form}') }}}}", DAY)) == clock.datetime(2026, 2, 3).strftime(form)


@pytest.mark.parametrize("front", ["", " ", "\n", " \n\t", "\n\n", "  {% if true %}if{% endif %}", "  {{- 1 }}"])
def test_white_space_at_the_front_of_a_template_stays(front: str) -> None:
    assert render(pinned(f"{front}[INST] {{# strftime_now #}}", DAY)) == render(f"{front}[INST] ")


class Tomorrow(clock.date):
    """A clock that is a day ahead of the test's."""

    @classmethod
    def today(cls) -> Tomorrow:
        return cls(2031, 12, 24)


def test_a_prompt_of_one_day_stays_what_it_was_on_the_next(
    chat_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (chat_checkpoint / "chat_template.jinja").write_text(MISTRAL)
    model = load_model(str(chat_checkpoint), style="chat", cpu="torch")
    prompt = Prompt("2+2", today="2026-02-03")
    before = model.encode(prompt)
    monkeypatch.setattr(language_model, "date", Tomorrow)
    assert model.encode(prompt) == before
    assert not caplog.records
    model.encode(Prompt("2+2"))
    model.encode(Prompt("2+3"))
    [record] = caplog.records
    assert "its chat template shows the date, and the prompt gives none" in record.getMessage()


def test_a_run_records_the_day_that_its_prompts_show(chat_checkpoint: Path, tmp_path: Path) -> None:
    (chat_checkpoint / "chat_template.jinja").write_text(MISTRAL)
    model = ["model=transformers", f"model.name={chat_checkpoint}"]
    task = ["task=sorting", "task.length=3", "task.limit=1", "search=single_sample", "display=none", "baseline=none"]
    for name, day in (("then", ["task.today=2026-02-03"]), ("now", [])):
        assert main([*model, *task, *day, f"hydra.run.dir={tmp_path / name}"]) == 3  # random weights answer nothing
    days = []
    for name in ("then", "now"):
        started = next(iter(read(tmp_path / name / "journal.sqlite")))
        assert isinstance(started, RunStarted)
        days.append(started.config["task"]["today"])
    assert days == ["2026-02-03", clock.date.today().isoformat()]


@pytest.mark.parametrize("day", ["tomorrow", "2026-13-01", "20260203", "2026-02-30", "3 Feb 2026"])
def test_a_day_that_is_none_is_refused(day: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([f"task.today='{day}'"]) == 2
    assert f"task.today={day}: give a day as 2026-11-26" in capfd.readouterr().err
    with pytest.raises(ValueError, match=f"Prompt.today='{day}': give a day as 2026-11-26"):
        Prompt("x", today=day)
