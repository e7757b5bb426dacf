"""Write every key of the configuration into its page, from the models themselves."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined, to_jsonable_python

from prunebench.config.loading import Config
from prunebench.config.strategy_settings import BUILT_IN

MARK = "<!-- every key -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by MkDocs with each page."""
    if MARK not in markdown:
        return markdown
    parts = ["## Top level", *_table(Config, "")]
    for name, field in Config.model_fields.items():
        for section in _models(field.annotation):
            parts += [f"## `{name}`", *_section(section, f"{name}.")]
    for name, settings in BUILT_IN.items():
        prefix = f"retrain.strategies.{name}."
        parts += [f"## `{prefix.removesuffix('.')}`", *_section(settings, prefix)]
    return markdown.replace(MARK, "\n".join(parts))


def _section(model: type[BaseModel], prefix: str) -> list[str]:
    nested: list[str] = []
    for name, field in model.model_fields.items():
        for section in _models(field.annotation):
            nested += [f"### `{prefix}{name}`", *_section(section, f"{prefix}{name}.")]
    return [" ".join((model.__doc__ or "").split()), *_table(model, prefix), *nested]


def _table(model: type[BaseModel], prefix: str) -> list[str]:
    rows = [
        f"| `{prefix}{name}` | {_default(field)} | {_cell(field.description or '')} |"
        for name, field in model.model_fields.items()
        if not _models(field.annotation)
    ]
    return ["", "| key | default | what it is |", "|---|---|---|", *rows, ""]


def _default(field: Any) -> str:
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    plain = json.dumps(to_jsonable_python(value))
    return f"`{plain}`" if len(plain) < 40 else "see below"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The section a key holds, also where it may be left out."""
    options = getattr(annotation, "__args__", ()) or (annotation,)
    return [o for o in options if isinstance(o, type) and issubclass(o, BaseModel)]
