"""YAML as plain data, and nothing more: no tags, no aliases, no key written twice, no file over 1 MiB.

Aliases are refused rather than counted: nothing we configure needs one, and a handful of them can stand for gigabytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from detector.errors import ConfigError

LARGEST_FILE = 1 << 20  # bytes; our largest catalogue file is a twentieth of it
DEEPEST = 32  # nested collections; a catalogue needs 8


class _PlainLoader(yaml.SafeLoader):
    """The safe loader without aliases, merge keys and repeated keys; every fault carries its line."""

    depth = 0

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.doubled: list[tuple[yaml.Mark, str]] = []

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        here = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(None, None, "found an alias (write the value out)", here)
        self.depth += 1
        if self.depth > DEEPEST:
            raise yaml.MarkedYAMLError(None, None, f"found more than {DEEPEST} levels of nesting", here)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - PyYAML's
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(None, None, "found a key that is no plain text", key.start_mark)
            if key.value in seen:
                self.doubled.append((key.start_mark, f"the key {key.value!r} a second time"))
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def read_yaml(path: Path) -> Any:
    """Return the plain data of one YAML document; an empty file is ``None``.

    Raises:
        ConfigError: the file is not there, too large, or not plain YAML; one line that names file, line and column.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read ({error.strerror}); expected a YAML file"]) from error
    if len(raw) > LARGEST_FILE:
        raise ConfigError([f"{path}: is larger than {LARGEST_FILE} bytes; expected a file written by hand"])
    try:
        loader = _PlainLoader(raw.decode("utf-8"))
        data = loader.get_single_data()
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: byte {error.start} is not UTF-8; expected UTF-8 text"]) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        hint = "; indent with blanks" if r"'\t'" in (error.problem or "") else ""
        raise ConfigError([f"{path}{where}: {error.problem}; expected plain YAML{hint}"]) from error
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError([f"{path}: {str(error).splitlines()[0]}; expected plain YAML"]) from error
    if loader.doubled:
        raise ConfigError(
            f"{path}:{mark.line + 1}:{mark.column + 1}: found {what}; expected plain YAML"
            for mark, what in loader.doubled
        )
    return data
