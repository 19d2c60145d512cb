"""A real PostgreSQL: one server for the session (`postgresql`), or private ones (`new_postgresql`)."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.plugins.required import missing
from tests.postgresql.cluster import Cluster, PostgresqlMissingError, programs


@pytest.fixture(scope="session")
def _postgresql_programs() -> None:
    reason = None
    try:
        programs()
    except PostgresqlMissingError as error:
        reason = str(error)
    if reason:
        missing("postgres", reason)


@pytest.fixture(scope="session")
def postgresql(_postgresql_programs: None) -> Iterator[Cluster]:
    """One running server, shared by the session: do not stop or pause it (`new_postgresql` is for that)."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def new_postgresql(_postgresql_programs: None) -> Iterator[Callable[..., Cluster]]:
    """Start a private server, which the test may kill, pause and start again; it is gone when the test ends."""
    with ExitStack() as running:
        yield lambda **settings: running.enter_context(Cluster(**settings))


@pytest.fixture
def url_file(tmp_path: Path) -> Callable[[Cluster], Path]:
    """Write the address of a new, empty database into a file for `store.url_file`."""

    def write(cluster: Cluster) -> Path:
        path = tmp_path / "store.url"
        path.touch(0o600)
        path.write_text(cluster.address(cluster.database()) + "\n")
        return path

    return write


@pytest.fixture(params=["sqlite", "postgresql"])
def store_options(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """The settings `store` of a new store: the test runs once with each database."""
    if request.param == "sqlite":
        return {"path": str(tmp_path / "store.sqlite")}
    write = request.getfixturevalue("url_file")
    return {"url_file": str(write(request.getfixturevalue("postgresql")))}
