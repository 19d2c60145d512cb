"""What a test needs from outside the repository is skipped with a reason when absent, and is a failure when required.

ITBWATCH_REQUIRE lists the parts that must be there, e.g. `ITBWATCH_REQUIRE=kafka,postgres`: CI sets it, so that
a skip cannot pass unseen. A fixture says `missing("kafka", "Java is not installed")` and need not know which it is.
"""

import os
from collections.abc import Callable
from typing import NoReturn

import pytest

PARTS = ("kafka", "postgres", "prometheus", "chromium", "spark", "shared")


def required() -> set[str]:
    """The parts named in ITBWATCH_REQUIRE."""
    return {part.strip() for part in os.environ.get("ITBWATCH_REQUIRE", "").split(",") if part.strip()}


def missing(part: str, reason: str) -> NoReturn:
    """Skip the test for `reason`, or fail it when `part` is required."""
    if part in required():
        pytest.fail(f"{part} is required by ITBWATCH_REQUIRE, but {reason}", pytrace=False)
    pytest.skip(f"{part}: {reason}")


@pytest.fixture(name="missing", scope="session")
def missing_fixture() -> Callable[[str, str], NoReturn]:
    return missing


def pytest_configure() -> None:
    unknown = required() - set(PARTS)
    if unknown:
        msg = f"ITBWATCH_REQUIRE names {', '.join(sorted(unknown))!r}; known parts: {', '.join(PARTS)}"
        raise pytest.UsageError(msg)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark a test by the fixtures it asks for, so that `-m 'not kafka'` needs no second list."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if "_kafka_jars" in fixtures:
            item.add_marker("kafka")
        if "_postgresql_programs" in fixtures:
            item.add_marker("postgres")
        if "spark" in fixtures:
            item.add_marker("spark")
        if "shared" in fixtures:
            item.add_marker("shared")
