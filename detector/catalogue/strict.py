"""Plain data (from YAML) to typed values, with every mistake of a file named at once.

A mistake reads ``FILE $.path: 'value' ...; expected ...; did you mean ...``. msgspec alone stops at the first one.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from msgspec.structs import FieldInfo, fields

from detector.errors import nearest

T = TypeVar("T", bound=msgspec.Struct)


class Problems:
    """The mistakes found so far in one file."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.lines: list[str] = []

    def add(self, path: str, what: str) -> None:
        self.lines.append(f"{self.file} {path}: {what}")


def typed(cls: type[T], data: object, path: str, problems: Problems) -> T | None:
    """Convert a mapping to a struct; every wrong, missing or unknown key is reported. None = it could not be."""
    if not isinstance(data, dict):
        problems.add(path, f"{data!r} is not a mapping; expected the keys {_names(cls)}")
        return None
    before = len(problems.lines)
    known = {field.encode_name: field for field in fields(cls)}
    for key in data:
        if key not in known:
            problems.add(f"{path}.{key}", f"unknown key; expected one of {_names(cls)}{nearest(str(key), known)}")
    values: dict[str, Any] = {}
    for name, field in known.items():
        if name not in data:
            if field.required:
                problems.add(path, f"{name!r} is missing; expected {_type_name(field)}")
            continue
        try:
            values[field.name] = msgspec.convert(data[name], field.type)
        except msgspec.ValidationError as error:
            problems.add(_inner(f"{path}.{name}", str(error)), _first(str(error), data[name], field))
    return cls(**values) if len(problems.lines) == before else None


def _names(cls: type[msgspec.Struct]) -> str:
    return ", ".join(field.encode_name for field in fields(cls))


def _type_name(field: FieldInfo) -> str:
    return getattr(field.type, "__name__", str(field.type)).replace("detector.", "")


def _inner(path: str, error: str) -> str:
    _, found, inner = error.rpartition(" - at `$")
    return path + inner.rstrip("`") if found else path


def _first(error: str, value: object, field: FieldInfo) -> str:
    shown = repr(value) if len(repr(value)) <= 60 else type(value).__name__
    return f"{shown}: {error.split(' - at ', maxsplit=1)[0]}; expected {_type_name(field)}"
