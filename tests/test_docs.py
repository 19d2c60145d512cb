"""The documentation says what the code has: every name, every reason, every move. A stale page fails here."""

from __future__ import annotations

import ast
import pkgutil
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from pydantic import BaseModel

from detector.alerts import TABLE
from detector.catalogue.strict import Problems
from detector.plan import Plan
from detector.rules.compiling import Compiler
from pipelines import commands
from pipelines.errors import INPUT_OUTPUT, INPUT_REFUSED, NO_PROGRESS, USAGE
from pipelines.metrics import REJECTED, SUPPRESSED, Metrics
from pipelines.plan_files import plan_from_files
from pipelines.settings import Settings
from pipelines.yaml_files import read_yaml

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
COMMANDS = sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(commands.__path__))
NO_REASON = {"accepted", "duplicate", "corrected", "removed", "superseded"}  # outcomes, told below the table


@cache
def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_from_files()


def after_mark(name: str, mark: str) -> str:
    """What follows ``<!-- mark -->``, up to the next heading."""
    return page(name).split(f"<!-- {mark} -->", 1)[1].split("\n## ", 1)[0]


def rows(text: str) -> list[list[str]]:
    """The cells of every table row, without back-ticks; headings and rulers included."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip().replace("`", "") for cell in line.strip("|").split("|")] for line in lines]


def test_the_readme_is_short_and_begins_with_what_it_is_and_is_not() -> None:
    lines = page("README.md").splitlines()

    assert len(lines) <= 150
    assert "not a medical device" in " ".join(lines[:15])
    assert (
        page("README.md").index("make demo") < page("README.md").index("make test") < page("README.md").index("\n## ")
    )


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_inside_the_repository_leads_somewhere(path: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text()) if "://" not in link]

    assert [] == [link for link in links if not (path.parent / link).exists()]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_readme(command: str) -> None:
    assert f"`{command}`" in page("README.md").split("Not there yet")[0]


@pytest.mark.parametrize("code", [0, USAGE, INPUT_REFUSED, NO_PROGRESS, INPUT_OUTPUT])
def test_every_exit_code_is_in_operations(code: int) -> None:
    assert [str(code)] in [row[:1] for row in rows(page("docs/operations.md"))]


def config_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            yield from config_keys(section, f"{prefix}{name}.")
        else:
            yield prefix + name


@pytest.mark.parametrize("key", list(config_keys(Settings)))
def test_every_config_key_is_in_operations_and_in_config_yaml(key: str) -> None:
    value = read_yaml(ROOT / "config.yaml")
    for part in key.split("."):
        assert part in value
        value = value[part]

    assert f"`{key}`" in page("docs/operations.md")


def test_the_table_of_metrics_is_the_registry(plan: Plan) -> None:
    registered = {}
    for family in Metrics(plan, Settings()).registry.collect():
        labels = tuple(label for label in family.samples[0].labels if label != "le") if family.samples else None
        registered[family.name + ("_total" if family.type == "counter" else "")] = (family.type, labels)
    told = {row[0]: row[1:3] for row in rows(page("docs/operations.md")) if row[0].startswith("itbwatch_")}

    assert registered.keys() == told.keys()
    for name, (kind, labels) in registered.items():
        assert kind == told[name][0], name
        if labels is not None:
            assert labels == tuple(filter(None, told[name][1].split(", "))), name


@pytest.mark.parametrize("reason", [*REJECTED, *SUPPRESSED])
def test_every_reason_is_in_operations(reason: str) -> None:
    assert f"`{reason}`" in page("docs/operations.md")


def test_every_refusal_has_a_row_that_says_what_to_do() -> None:
    told = {row[0] for row in rows(page("docs/operations.md")) if len(row) == 4}

    assert set(REJECTED) - NO_REASON <= told


def test_every_rule_and_guard_is_in_the_table_of_rules(plan: Plan) -> None:
    told = [row[0] for row in rows(page("docs/rules.md")) if re.fullmatch(r"[A-Z]+-\d\d", row[0])]

    assert sorted(plan.rules) == sorted(told)
    for guard in ("G-1", "G-2", "G-3", "G-4", "G-5"):
        assert guard in page("docs/rules.md")


def test_every_kind_of_condition_has_an_example_that_compiles(plan: Plan, tmp_path: Path) -> None:
    block = re.search(r"```yaml\n(.*?)```", after_mark("docs/rules.md", "conditions"), re.DOTALL)
    assert block is not None
    (tmp_path / "block.yaml").write_text(block[1])
    conditions = read_yaml(tmp_path / "block.yaml")
    problems = Problems("docs/rules.md")
    compiler = Compiler(plan.catalogue, plan.book.tables, frozenset(asked.id for asked in plan.book.asked), problems)
    terms = [compiler.compile(condition, f"$[{i}]") for i, condition in enumerate(conditions)]

    assert [] == problems.lines
    assert None not in terms
    assert set(compiler._kinds) == {kind for condition in conditions for kind in condition}


def test_the_life_cycle_is_the_table_of_the_code() -> None:
    told = [tuple(row) for row in rows(after_mark("docs/rules.md", "life cycle"))[2:]]

    assert {(state, stimulus.value, to) for (state, stimulus), to in TABLE.items()} == set(told)
    assert len(told) == len(TABLE)


@cache
def defined(file: str) -> frozenset[str]:
    """Qualified names of the classes and functions of a file."""
    names: set[str] = set()

    def visit(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                names.add(prefix + child.name)
                visit(child, f"{prefix}{child.name}.")

    visit(ast.parse((ROOT / file).read_text()), "")
    return frozenset(names)


@pytest.mark.parametrize(("file", "name"), sorted(set(re.findall(r"`([\w/]+\.py):([\w.]+)`", page("docs/tour.md")))))
def test_every_function_of_the_tour_exists(file: str, name: str) -> None:
    assert name in defined(file)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_that_a_page_names_exists(path: Path) -> None:
    named = re.findall(r"`((?:detector|models|pipelines|tests|docs|requirements)/[\w./-]*\w)", path.read_text())

    assert [] == [name for name in named if not (ROOT / name).exists()]


def test_every_target_that_the_readme_names_is_in_the_makefile() -> None:
    named = set(re.findall(r"make ([a-z-]+)", page("README.md")))

    assert named <= set(re.findall(r"^([a-z-]+):", page("Makefile"), re.MULTILINE))


def test_every_test_that_guards_against_a_hazard_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", page("docs/safety.md")))
    known = {
        name
        for path in (ROOT / "tests").rglob("*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
    }

    assert len(named) > 15
    assert set() == named - known
