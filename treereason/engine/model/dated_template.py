"""Chat templates that show the date, as those of Llama 3.2 and Mistral Small 3 do, with a day that is given."""

from __future__ import annotations

from datetime import date, datetime, time

CLOCK = "strftime_now"
"""What templates call for the date: transformers gives them a function of this name."""
DIRECTIVES = (*"aAwdbBmyYHIpMSfjUWcxXGuV", "-d", "-m", "-y", "-H", "-I", "-M", "-S", "-j", "e")
_PERCENT = "\x00"


def shows_date(template: str) -> bool:
    """Whether a chat template asks for the date."""
    return CLOCK in template


def pinned(template: str, today: date) -> str:
    """The template with a clock that stands at the beginning of the day.

    A macro of the clock's name goes before it: what is not plain data, transformers gives to no template.
    """
    now = datetime.combine(today, time())
    filters = "".join(f"|replace('%{name}', '{now.strftime(f'%{name}')}')" for name in DIRECTIVES)
    text = f"format|replace('%%', '{_PERCENT}'){filters}|replace('{_PERCENT}', '%')"
    return f"{{%- macro {CLOCK}(format) -%}}{{{{ {text} }}}}{{%- endmacro -%}}{template}"
