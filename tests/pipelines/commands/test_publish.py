"""``itbwatch publish``, as far as it goes without a broker."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from detector.errors import ConfigError
from pipelines.commands.publish import command


@pytest.mark.parametrize(
    ("servers", "told"),
    [
        ("foo", "--bootstrap-servers $.kafka.bootstrap_servers[0]: 'foo'; expected host:port"),
        ("127.0.0.1:1,", "--bootstrap-servers $.kafka.bootstrap_servers[1]: ''; expected host:port"),
        ("broker.example:9092", "expected protocol ssl or sasl_ssl, because broker.example:9092 is not on loopback"),
    ],
)
def test_brokers_that_are_none_are_refused_in_the_words_of_the_configuration(
    tmp_path: Path, servers: str, told: str
) -> None:
    done = CliRunner().invoke(command, [str(tmp_path / "o.csv"), "--bootstrap-servers", servers])

    assert isinstance(done.exception, ConfigError)
    assert told in done.exception.problems[0]


def test_topics_of_another_format_are_refused_because_canonical_is_what_it_writes(tmp_path: Path) -> None:
    config = tmp_path / "site.yaml"
    config.write_text("kafka: {formats: {observations: fhir, encounters: hl7v2}}")
    done = CliRunner().invoke(command, [str(tmp_path / "o.csv"), "--config", str(config)])

    assert isinstance(done.exception, ConfigError)
    assert done.exception.problems[0].startswith("config.yaml $.kafka.formats: fhir, hl7v2; expected canonical")
