"""What a message says: Watchtower's built-in templates, and templates of one's own in Jinja2 or Go's language.

A template is given as the name of a built-in one or as its text. Text in Go's language is translated. All run in a
sandbox that can reach nothing but the values handed in: `title`, `host`, `entries`, `report` (none outside of a
session), and `root` with the four of them.

A name that does not exist is an error, so that a slip is found when the program starts; a key that a log entry lacks is
empty, because entries differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from watchtower_async.notify.go_template import is_go_template, translate_go_template
from watchtower_async.notify.go_text import (
    go_pairs,
    go_print,
    go_printf,
    go_println,
    go_text,
    go_time,
    rfc1123,
    to_json,
    to_porcelain_json,
)
from watchtower_async.notify.report import TemplateData, short
from watchtower_async.notify.sample import sample_entries, sample_report

_LONGEST_OUTPUT = 256 * 1024

BUILT_IN: Mapping[str, str] = {
    "default-legacy": "{% for entry in entries %}{{ entry.message }}\n{% endfor %}",
    "default": (
        "{% if report %}"
        "{% if report.updated or report.failed %}"
        "{{ report.scanned | length }} Scanned, {{ report.updated | length }} Updated,"
        " {{ report.failed | length }} Failed"
        "{% for c in report.updated %}\n- {{ c.name }} ({{ c.image }}): {{ c.old }} updated to {{ c.new }}"
        "{% if c.link %} ({{ c.link }}){% endif %}{% endfor %}"
        "{% for c in report.fresh %}\n- {{ c.name }} ({{ c.image }}): {{ c.state }}{% endfor %}"
        "{% for c in report.skipped %}\n- {{ c.name }} ({{ c.image }}): {{ c.state }}: {{ c.error }}{% endfor %}"
        "{% for c in report.failed %}\n- {{ c.name }} ({{ c.image }}): {{ c.state }}: {{ c.error }}{% endfor %}"
        "{% endif %}"
        '{% else %}{{ entries | map(attribute="message") | join("\n") }}{% endif %}'
    ),
    "porcelain.v1.summary-no-log": (
        "{% if report %}{% for c in report.all %}"
        "{{ c.name }} ({{ c.image }}): {{ c.state }}{% if c.error %} Error: {{ c.error }}{% endif %}\n"
        "{% else %}no containers matched filter{% endfor %}{% endif %}"
    ),
    "json.v1": "{{ root | to_json }}",
    "porcelain.json": "{% if report %}{{ report | to_porcelain_json }}{% endif %}",
}
"""Watchtower's templates by name."""


class _Absent(jinja2.StrictUndefined):
    """A name that does not exist, which is an error, or a key that a map lacks, which is empty."""

    def __new__(cls, hint: str | None = None, obj: Any = None, *rest: Any, **more: Any) -> Any:
        if isinstance(obj, Mapping):
            return jinja2.ChainableUndefined(hint, obj, *rest, **more)
        return super().__new__(cls)


def _environment(**options: Any) -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        # Messages are text. What a service needs in HTML is escaped where it is delivered.
        autoescape=False,
        undefined=_Absent,
        keep_trailing_newline=True,
        extensions=["jinja2.ext.loopcontrols"],
        **options,
    )
    environment.filters |= {
        "short": short,
        "to_json": to_json,
        "to_porcelain_json": to_porcelain_json,
        "rfc1123": rfc1123,
        "go_time": go_time,
        "go_pairs": go_pairs,
    }
    environment.globals |= {"go_print": go_print, "go_printf": go_printf, "go_println": go_println}
    return environment


_PLAIN = _environment()
_AS_GO = _environment(finalize=go_text)


@dataclass(frozen=True, slots=True)
class Template:
    """A template that can be used."""

    name: str
    """What it is called: a built-in name, or `template`."""
    source: str
    """Its text in Jinja2."""
    is_translated: bool = False
    """Whether it was written in Go's language."""
    compiled: jinja2.Template = field(repr=False, compare=False, kw_only=True)

    def render(self, data: TemplateData) -> str:
        """Return the message. Raises ValueError, with the line, when the template cannot be carried out."""
        values = {"title": data.title, "host": data.host, "entries": data.entries, "report": data.report, "root": data}
        parts: list[str] = []
        length = 0
        try:
            for part in self.compiled.generate(values):
                parts.append(part)
                length += len(part)
                if length > _LONGEST_OUTPUT:
                    raise ValueError(f"{self.name}: it makes a message of more than {_LONGEST_OUTPUT // 1024} KiB")
        except jinja2.TemplateError as error:
            raise ValueError(f"{self.name}, {_place(error)}{error.message}") from None
        except (TypeError, KeyError, AttributeError, ArithmeticError, LookupError, RecursionError) as error:
            raise ValueError(f"{self.name}, {_place(error)}{error}") from None
        return "".join(parts)


def read_template(text: str, *, is_report: bool) -> Template:
    """Return a template by its name or its text; an empty one is the default of its mode.

    Raises ValueError that names the line, and for Go's language the Jinja2 spelling.
    """
    name = text.strip() or ("default" if is_report else "default-legacy")
    if name in BUILT_IN:
        return built_in(name)
    is_translated = is_go_template(text)
    source = translate_go_template(text, is_report=is_report) if is_translated else text
    try:
        compiled = (_AS_GO if is_translated else _PLAIN).from_string(source)
    except jinja2.TemplateSyntaxError as error:
        raise ValueError(f"line {error.lineno}: {error.message}") from None
    template = Template("template", source, is_translated, compiled=compiled)
    # With everything there is. What fails without a report fails when there is none, and the default is used then.
    template.render(TemplateData("title", "host", sample_entries(), sample_report()))
    return template


def built_in(name: str) -> Template:
    """Return a built-in template. Raises KeyError for a name that is not in `BUILT_IN`."""
    return Template(name, BUILT_IN[name], compiled=_PLAIN.from_string(BUILT_IN[name]))


def _place(error: Exception) -> str:
    """Say which line of the template was carried out when this happened."""
    if isinstance(error, jinja2.TemplateSyntaxError):
        return f"line {error.lineno}: "
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return f"line {line}: " if line else ""
