"""What was wrong on the command line, in one line: where, what, what was expected, the nearest name, what to do."""

from __future__ import annotations

from math import isfinite
from typing import Any

import click

from detector.errors import nearest
from pipelines.settings import UNWRITABLE


class Words(click.ParamType[str]):
    """A text that can be stored and written: a byte that is no UTF-8, or a control character, is a usage error."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        if UNWRITABLE.search(text):
            self.fail("expected a text in UTF-8 without control characters", param, ctx)
        return text


class Number(click.FloatRange):
    """A number within its bounds. ``nan`` is within no bounds, and ``inf`` is no number to wait for."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not isfinite(number):
            self.fail(f"{value} is not in the range {self._describe_range()}.", param, ctx)
        return number


def usage_line(error: click.ClickException) -> str:
    """A usage error as one line."""
    said = " ".join(error.format_message().split()).rstrip(".")
    context = error.ctx if isinstance(error, click.UsageError) else None
    where = context.command_path if context is not None else "itbwatch"
    return f"{where}: {said}{_hint(error, context)}; see `{where} --help`"


def _hint(error: click.ClickException, context: click.Context | None) -> str:
    """The nearest command or choice, where the library does not tell it itself."""
    if "Did you mean" in error.format_message():
        return ""
    if isinstance(error, click.BadParameter) and error.param is not None and isinstance(error.param.type, click.Choice):
        words = error.format_message().split("'")
        written = next((word for word in words[1::2] if not word.startswith("-")), "")
        return nearest(written, [str(choice) for choice in error.param.type.choices])
    if context is not None and isinstance(context.command, click.Group) and "No such command" in error.format_message():
        return nearest(error.format_message().split("'")[1], context.command.list_commands(context))
    return ""
