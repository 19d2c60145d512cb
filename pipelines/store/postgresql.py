"""PostgreSQL: one database for several workers, at an address that only their user may read."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError

from detector.errors import ConfigError
from pipelines.settings import read_secret_line

DRIVER: Final = "postgresql+psycopg"
WHERE: Final = "$.store.url_file"


def read_address(path: str) -> sa.URL:
    """The address in the file of ``store.url_file``.

    Raises:
        ConfigError: it cannot be read, or holds no such address; what it holds is not repeated, it may be a password.
    """
    try:
        address = sa.make_url(read_secret_line(path, WHERE))
    except (ArgumentError, ValueError):
        address = None
    if address is None or address.drivername != DRIVER:
        problem = f"{path!r} holds no such address; expected {DRIVER}://user:password@host/name"
        raise ConfigError([f"config.yaml {WHERE}: {problem}"])
    return address
