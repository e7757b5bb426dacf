"""A document as one self-contained HTML file, or as Markdown."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

from prunebench.results.messages.catalogue import Messages
from prunebench.results.report.document import Document, Figure

TEMPLATES = files("prunebench.results.report") / "templates"
MARKDOWN_MARKS = re.compile(
    r"""
    [\\`*|~]              # code, emphasis, table cells, strikethrough
    | (?<![^\W_])_ | _(?![^\W_])  # emphasis, but not inside a word
    | \](?=\()            # a link
    | (?:^|(?<=\s))\#     # a heading's start, or its end
    | ^[-+=]              # a list, a rule or a heading's underline
    """,
    re.VERBOSE,
)
LONG_TEXT = 24
"""Characters from which on a cell needs room of its own on a narrow page."""

WIDE = 9
"""Columns from which on a table has its intervals below their estimates."""

INTERVAL = re.compile(r"\[[-+\d.,]+, [-+\d.,]+\]")

NUMBERED = re.compile(r"^(\d+)(?=[.)](?:\s|$))")


def to_html(document: Document, messages: Messages) -> str:
    """The document with its styles, scripts and figures inside; it loads nothing."""
    environment = _environment(autoescape=True)
    drawn = any(isinstance(b, Figure) for section in document.sections for b in section.blocks)
    return environment.get_template("report.html.j2").render(
        document=document,
        m=messages,
        style=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
        script=Markup((TEMPLATES / "report.js").read_text(encoding="utf-8")),
        plotly=Markup(get_plotlyjs()) if drawn else "",
        long=LONG_TEXT,
        wide=WIDE,
    )


def to_markdown(document: Document, messages: Messages) -> str:
    """The document as GitHub-flavoured Markdown; figures are told in words."""
    return render("report.md.j2", document=document, m=messages)


def render(template: str, **values: object) -> str:
    """A template of Markdown with its values; its filter ``md`` escapes a text."""
    return _environment(autoescape=False).get_template(template).render(**values)


def _environment(*, autoescape: bool) -> Environment:
    environment = Environment(
        loader=PackageLoader("prunebench.results.report"),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"md": escape_markdown, "breakable": breakable}
    environment.filters |= {"intervals": intervals, "script_json": script_json}
    return environment


def escape_markdown(text: str) -> str:
    """Plain text as Markdown that shows just that text, on one line."""
    escaped = MARKDOWN_MARKS.sub(lambda match: f"\\{match.group(0)}", " ".join(text.split()))
    escaped = NUMBERED.sub(r"\1\\", escaped)
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def breakable(text: str) -> Markup:
    """Text that may be wrapped after a dot, as long keys have them."""
    return escape(text).replace(".", Markup(".<wbr>"))


def intervals(text: str) -> Markup:
    """Text whose intervals, "[9.41, 9.57]", are elements that a style can place."""
    return Markup(INTERVAL.sub(r'<span class="interval">\g<0></span>', str(escape(text))))


def script_json(value: Mapping[str, Any]) -> Markup:
    """JSON that may stand inside a script element: nothing in it can end the element."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
