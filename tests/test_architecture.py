"""Imports go one way, and the core touches nothing outside itself."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAY_IMPORT = {
    "detector": {"detector", "msgspec"},
    "models": {"detector", "models", "msgspec", "numpy", "pandas", "river"},
}
WORLD = {
    "time", "random", "os", "io", "logging", "socket", "subprocess", "pathlib", "threading", "secrets", "uuid", "tempfile",
}  # fmt: skip
"""Modules by which a clock, chance, files or a log would come in."""


def modules(root: str) -> list[Path]:
    return sorted((ROOT / root).rglob("*.py"))


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add((node.module or "").partition(".")[0])
    return names


@pytest.mark.parametrize("path", modules("detector") + modules("models"), ids=lambda p: str(p.relative_to(ROOT)))
def test_a_root_imports_only_what_lies_below_it(path: Path) -> None:
    root = path.relative_to(ROOT).parts[0]

    assert imported(path) - set(sys.stdlib_module_names) <= MAY_IMPORT[root]


@pytest.mark.parametrize("path", modules("detector"), ids=lambda p: str(p.relative_to(ROOT)))
def test_the_core_reads_no_clock_draws_no_number_opens_no_file_and_logs_nothing(path: Path) -> None:
    tree = ast.parse(path.read_text())
    calls = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    clocks = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in ("datetime", "date")
    }

    assert not imported(path) & WORLD
    assert not calls & {"open", "print", "input", "eval", "exec", "hash"}
    assert not clocks & {"now", "today", "utcnow"}
