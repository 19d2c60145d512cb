"""What leaves this machine for a PostgreSQL is encrypted, unless the address says otherwise."""

import secrets

import pytest

from pipelines.errors import StoreError
from pipelines.settings import Store as StoreSettings
from pipelines.store import Store


@pytest.fixture
def opened(new_postgresql, tmp_path):
    """Open a store on a server without TLS, by an address that ends as asked for."""
    here = f"127.83.{secrets.randbelow(250)}.{1 + secrets.randbelow(250)}"
    server = new_postgresql(listen_addresses=here)
    database = server.database()
    file = tmp_path / "store.url"
    file.touch(0o600)

    def opening(host, *more, password=server.password):
        query = "&".join([f"hostaddr={here}", *more])
        file.write_text(f"postgresql+psycopg://site:{password}@{host}/{database}?{query}\n")
        Store(StoreSettings(url_file=str(file))).close()

    return opening


def test_a_server_elsewhere_without_tls_gets_nothing_unless_the_address_says_so(opened):
    with pytest.raises(StoreError, match="SSL") as refused:
        opened("database.example", password="SECRET")

    assert "SECRET" not in str(refused.value)

    opened("localhost")
    opened("database.example", "sslmode=disable")


def test_a_wrong_password_is_refused_and_not_repeated(opened):
    with pytest.raises(StoreError) as refused:
        opened("localhost", password="SECRET")

    assert "SECRET" not in str(refused.value)
