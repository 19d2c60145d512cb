"""Two kills of one of two workers under load, as the campaign does a thousand."""

from __future__ import annotations

import pytest

from tests.torture.__main__ import main
from tests.torture.results import Results


@pytest.mark.slow
@pytest.mark.usefixtures("_kafka_jars", "_postgresql_programs")
def test_workers_killed_under_load_lose_and_double_nothing(tmp_path, record_property):
    words = ["--only", "kills", "--kills", "2", "--store", "postgresql", "--results", str(tmp_path / "results.json")]

    assert 0 == main(words)

    (row,) = Results(tmp_path / "results.json").rows.values()
    record_property("told", f"{row.times} kills, {row.checked} records, worst {row.worst_s} s to the next commit")
    assert (2, 2) == (row.times, row.resume)
    assert row.checked > 15
