"""Chat templates that show the date, as those of Llama 3.2 and Mistral Small 3 do, with a day that is given."""

from __future__ import annotations

import re
from datetime import date, datetime, time

CLOCK = "strftime_now"
"""What templates call for the date: transformers gives them a function of this name."""
_DIRECTIVE = re.compile(r"%[-_0^#]*[EO]?[A-Za-z]")
_PERCENT = "\x00"


def shows_date(template: str) -> bool:
    """Whether a chat template asks for the date."""
    return CLOCK in template


def pinned(template: str, today: date) -> str:
    """The template with a clock that stands at the beginning of the day.

    A macro of the clock's name goes before it: what is not plain data, transformers gives to no template.
    """
    now = datetime.combine(today, time())
    directives = sorted(set(_DIRECTIVE.findall(template)))
    filters = "".join(f"|replace('{directive}', {now.strftime(directive)!r})" for directive in directives)
    text = f"format|replace('%%', '{_PERCENT}'){filters}|replace('{_PERCENT}', '%')"
    # The line end is the block's own, which transformers' environment drops: white space of the template stays.
    return f"{{%- macro {CLOCK}(format) -%}}{{{{ {text} }}}}{{%- endmacro %}}\n{template}"
