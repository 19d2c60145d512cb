import re
from pathlib import Path

import pytest

from detector.errors import ConfigError
from detector.plan import PUBLIC_KEY
from pipelines.settings import Settings
from pipelines.settings_file import load_settings

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def load(tmp_path):
    def load(text):
        path = tmp_path / "config.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_settings(path)

    return load


def problems(load, text):
    with pytest.raises(ConfigError) as refused:
        load(text)
    return [re.sub(r"^.*config\.yaml", "config.yaml", line) for line in refused.value.problems]


def test_the_shipped_file_says_every_default():
    assert load_settings(ROOT / "config.yaml") == Settings()


def test_the_shipped_file_names_every_key():
    text = (ROOT / "config.yaml").read_text()

    def keys(model):
        for name, field in model.model_fields.items():
            yield name
            if hasattr(field.annotation, "model_fields"):
                yield from keys(field.annotation)

    missing = [key for key in keys(Settings) if not re.search(rf"^\s*{key}:", text, re.MULTILINE)]

    assert [] == missing


def test_an_empty_file_is_the_defaults(load):
    assert load("") == Settings()


def test_every_mistake_is_named_at_once_with_path_value_expectation_and_nearest_name(load):
    found = problems(
        load,
        """
sorce: file
source: kafak
kafka:
  bootstrap_servers: localhost
  topics: {alert: x}
  session_timeout_ms: "5"
poll: {max_records: 0}
timezone: Mars
code_map: {LAB1: {unit: mg/dL}}
limits: {record_bytes: .nan}
""",
    )

    assert found[0] == "config.yaml $.source: 'kafak'; expected kafka or file; did you mean 'kafka'?"
    assert "config.yaml $.kafka.bootstrap_servers: 'localhost'; expected a list" in found
    assert any("$.kafka.topics.alert: unknown key" in line and "did you mean 'alerts'?" in line for line in found)
    assert "config.yaml $.kafka.session_timeout_ms: '5'; expected a whole number" in found
    assert "config.yaml $.poll.max_records: 0; expected greater than or equal to 1" in found
    assert "config.yaml $.timezone: 'Mars'; expected an IANA time zone such as Europe/Berlin or UTC" in found
    assert "config.yaml $.code_map.LAB1.signal: is missing; expected a value" in found
    assert "config.yaml $.limits.record_bytes: nan; expected a whole number" in found
    assert any("$.sorce: unknown key" in line and "did you mean 'source'?" in line for line in found)
    assert len(found) == 9
    assert all("\n" not in line for line in found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("source: file\nsource: kafka\n", "the key 'source' a second time"),
        ("kafka: &a {client_id: x}\nfile: *a\n", "an alias"),
        ("? [a]\n: b\n", "a key that is no plain text"),
        ("source: !!python/object:os.system x\n", "could not determine a constructor"),
        ("kafka: " + "[" * 50 + "]" * 50, "levels of nesting"),
        ("source: [", "expected plain YAML"),
        (
            "kafka:\n\tclient_id: x\n",
            r": found character '\t' that cannot start any token; expected plain YAML; indent with blanks",
        ),
        (b"source: \xff\n", "not UTF-8"),
        ("# " + "x" * (1 << 20), "larger than"),
        ("- a\n- b\n", "expected a mapping"),
    ],
)
def test_a_file_that_is_no_plain_yaml_is_refused(load, text, expected):
    (line,) = problems(load, text)

    assert expected in line


def test_every_key_that_is_there_twice_is_named(load):
    found = problems(load, "source: file\nsource: kafka\nhttp: {port: 1, port: 2}\n")

    assert ["config.yaml:2:1: found the key 'source' a second time; expected plain YAML",
            "config.yaml:3:17: found the key 'port' a second time; expected plain YAML"] == found  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("logging: {level: WARN}", "$.logging.level: 'WARN'; expected debug, info, warning or error; did you mean 'warning'?"),
        ("timezone: Europe/Berln", "did you mean 'Europe/Berlin'?"),
        ("kafka: {topics: {pumps: icu.context}}", "'icu.context' is the topic of pumps and context; expected eight different names"),
        ("kafka: {topics: {pumps: ..}}", "expected a topic name"),
        ('kafka: {bootstrap_servers: ["127.0.0.1:99999"]}', "a port from 1 to 65535"),
        ('kafka: {bootstrap_servers: ["127.0.0.1:0"]}', "expected host:port"),
        ("kafka: {security: {protocol: ssl, ca_file: nowhere.pem}}", "ca_file: 'nowhere.pem': no such file; expected a PEM file"),
        ("identity_key_file: nowhere", "$.identity_key_file: 'nowhere' cannot be read"),
        ("store: {url_file: nowhere}", "$.store.url_file: 'nowhere' cannot be read"),
        ('file: {path: ""}', "$.file.path: ''; expected a text that is not empty"),
        ('store: {path: "a\\0"}', "expected a file name without control characters"),
        (f"overlay: {'x' * 256}", "each name in it of at most 255"),
        ('kafka: {bootstrap_servers: ["é:9092"], security: {insecure: true}}', "expected host:port"),
        ("5: 6", "$: the key 5; expected a text (quote it if it looks like a number)"),
        ("code_map: {5: {signal: ck}}", "$.code_map: the key 5; expected a text (quote it if it looks like a number)"),
        ('store: {path: ""}', "$.store.path: ''; expected a text that is not empty"),
        ('http: {host: ""}', "$.http.host: ''; expected a text that is not empty"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_when_it_is_read(load, text, expected):
    (line,) = problems(load, text)

    assert line.startswith("config.yaml $")
    assert expected in line


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"", b" \n", b"SECRET\nSECRET", b"SECRET\x00"])
def test_a_password_that_is_no_line_of_text_is_refused_and_not_repeated(load, tmp_path, content):
    file = tmp_path / "password"
    file.write_bytes(content)
    file.chmod(0o600)
    sasl = f"{{protocol: sasl_ssl, sasl_mechanism: PLAIN, username: u, password_file: {file}}}"
    (line,) = problems(load, f"kafka: {{security: {sasl}}}")

    assert (
        f"config.yaml $.kafka.security.password_file: '{file}' cannot be used; expected one line of UTF-8 text" == line
    )


@pytest.mark.parametrize(
    "address",
    [b"", b"\xff", b"SECRET", b"postgresql+psycopg://u:SECRET@h:port/x", b"postgresql+psycopg://u:SECRET@h/x\nSECRET",
     b"mysql://u:SECRET@h/x", b"postgresql://u:SECRET@h/x"],
)  # fmt: skip
def test_an_address_of_the_store_that_is_none_is_refused_and_not_repeated(load, tmp_path, address):
    file = tmp_path / "url"
    file.write_bytes(address)
    file.chmod(0o600)
    (line,) = problems(load, f"store: {{url_file: {file}}}")

    assert line.startswith(f"config.yaml $.store.url_file: '{file}' ")
    assert "; expected " in line
    assert "SECRET" not in line

    file.write_bytes(b"postgresql+psycopg://u:SECRET@h/x\n")
    assert str(file) == load(f"store: {{url_file: {file}}}").store.url_file


def paths(lines):
    return [line.split()[1].strip(":") for line in lines]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("code_map: {LAB1: {unit: mg/dL}}\nstore: {url_file: nowhere}", ["$.code_map.LAB1.signal", "$.store.url_file"]),
        ("kafka: {topics: {alerts: 'a b', pumps: x, context: x}}", ["$.kafka.topics.context", "$.kafka.topics.alerts"]),
        ("kafka: {topics: {alerts: 'a b', pumps: itb.alerts}}", ["$.kafka.topics.alerts"]),
        ("kafka: {security: {protocol: tls, username: u}}", ["$.kafka.security.protocol"]),
        ("kafka: {session_timeout_ms: 5, heartbeat_interval_ms: 20000}", ["$.kafka.session_timeout_ms"]),
        ("kafka: {session_timeout_ms: 2000, security: {ca_file: nowhere}}",
         ["$.kafka.heartbeat_interval_ms", "$.kafka.security.ca_file"]),
        ("kafka: {bootstrap_servers: [x, 'b.example:9092'], group_id: ''}",
         ["$.kafka.bootstrap_servers[0]", "$.kafka.group_id", "$.kafka.security"]),
        ("kafka: {group_id: '', topics: {alerts: ours}}\nexports: {fhir: ours}", ["$.kafka.group_id", "$.exports"]),
        ("kafka: {topics: {alerts: 'a b'}}\nexports: {fhir: itb.alerts}", ["$.kafka.topics.alerts"]),
        ("cds_hooks: {url: x, clients: [{issuer: i}, {issuer: j, jwks_file: nowhere}, {}, {issuer: k, jwks_file: none}]}",
         ["$.cds_hooks.url", "$.cds_hooks.clients[0].jwks_file", "$.cds_hooks.clients[2].issuer",
          "$.cds_hooks.clients[2].jwks_file", "$.cds_hooks.clients[1].jwks_file", "$.cds_hooks.clients[3].jwks_file"]),
        ("source: flie\nfile: {alerts: events.ndjson}", ["$.source"]),
        ("source: file\nfile: {path: 5, alerts: a, deadletters: ./a}", ["$.file.path", "$.file.deadletters"]),
        ("on: 1\n5: 6\npoll: {on: 1}\ncode_map: {5: {signal: ck}, '': {signal: ck}}\nidentity_key_file: nowhere",
         ["$", "$", "$.poll", "$.code_map", "$.code_map", "$.identity_key_file"]),
        ("- a", ["$"]),
    ],
)  # fmt: skip
def test_no_mistake_hides_another_and_none_is_told_that_only_comes_of_one(load, text, expected):
    assert sorted(expected) == sorted(paths(problems(load, text)))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ("file: {path: in, alerts: in}", ("file.alerts", "file.path")),
        ("file: {path: in, alerts: ./in}", ("file.alerts", "file.path")),
        ("file: {path: in, alerts: link}", ("file.alerts", "file.path")),
        ("file: {path: in, alerts: hard}", ("file.alerts", "file.path")),
        ("file: {path: in, alerts: out, deadletters: x/../out}", ("file.deadletters", "file.alerts")),
        ("file: {path: in, deadletters: in}", ("file.deadletters", "file.path")),
        ("file: {path: base}\nstore: {path: ./base}", ("store.path", "file.path")),
        ("file: {deadletters: link}\nstore: {path: in}", ("store.path", "file.deadletters")),
        ("exports: {fhir: ./events.ndjson}", ("exports.fhir", "file.path")),
        ("exports: {fhir: in, hl7v2: link}", ("exports.hl7v2", "exports.fhir")),
    ],
)
def test_a_file_that_has_two_uses_is_refused_with_both(load, tmp_path, monkeypatch, settings, named):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").mkdir()
    (tmp_path / "in").write_text("")
    (tmp_path / "link").symlink_to("in")
    (tmp_path / "hard").hardlink_to("in")
    (line,) = problems(load, f"source: file\n{settings}\n")

    assert line.startswith(f"config.yaml $.{named[0]}: ")
    assert f"is the file of $.{named[1]} too; expected a file of its own" in line


@pytest.mark.parametrize(
    "text",
    [
        "source: file\nfile: {alerts: '-', deadletters: '-'}\nexports: {fhir: '-'}",
        "source: file\nfile: {alerts: /dev/null, deadletters: /dev/null}",
        "file: {path: a, alerts: a}\nstore: {path: a}",  # of use with source: file only
        "source: file\nfile: {path: itbwatch.sqlite}\nstore: {url_file: url}",
    ],
)
def test_what_takes_everything_or_is_not_used_is_nobodys_file(load, tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "url").write_text("postgresql+psycopg://u:p@h/x")
    (tmp_path / "url").chmod(0o600)

    assert load(text)


def test_a_mistake_of_one_key_hides_none_of_the_files_that_others_name(load):
    found = problems(load, "sorce: file\npoll: {max_records: 0}\nidentity_key_file: nowhere\n")

    assert ["$.poll.max_records", "$.sorce", "$.identity_key_file"] == [line.split()[1].strip(":") for line in found]


def test_an_alias_bomb_is_refused_before_it_grows(load):
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{b}: &{b} [{','.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )

    assert "an alias" in problems(load, bomb)[0]


def test_a_missing_file_is_a_configuration_error(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(tmp_path / "none.yaml")


@pytest.mark.parametrize("server", ["127.0.0.1:9092", "localhost:9092", "[::1]:9092"])
def test_plaintext_is_allowed_on_loopback(load, server):
    assert load(f'kafka: {{bootstrap_servers: ["{server}"]}}').kafka.bootstrap_servers == [server]


def test_plaintext_beyond_loopback_needs_the_insecure_flag(load):
    outside = "bootstrap_servers: [broker.example:9092]"

    assert "insecure: true" in problems(load, f"kafka: {{{outside}}}")[0]
    assert load(f"kafka: {{{outside}, security: {{insecure: true}}}}").kafka.security.insecure
    assert load(f"kafka: {{{outside}, security: {{protocol: ssl}}}}").kafka.security.protocol == "ssl"


def test_a_password_is_refused_without_encryption_and_missing_where_it_is_needed(load):
    assert "sasl_ssl" in problems(load, "kafka: {security: {username: u}}")[0]
    assert "password_file" in problems(load, "kafka: {security: {protocol: sasl_ssl, username: u}}")[0]


def test_the_identity_key_is_the_public_one_until_a_site_has_its_own(load, tmp_path):
    key = tmp_path / "key"
    key.write_bytes(b"0123456789abcdef0123")
    key.chmod(0o600)
    settings = load(f"identity_key_file: {key}")

    assert Settings().identity_key() == PUBLIC_KEY
    assert settings.identity_key() == b"0123456789abcdef0123"

    key.chmod(0o644)
    with pytest.raises(ConfigError, match=r"/config\.yaml \$\.identity_key_file"):
        load(f"identity_key_file: {key}")
    with pytest.raises(ConfigError, match="0600"):
        settings.identity_key()

    key.chmod(0o600)
    key.write_bytes(b"short")
    with pytest.raises(ConfigError, match="16 or more"):
        settings.identity_key()


@pytest.mark.parametrize(
    ("text", "every_s"),
    [
        ("", 10.0), ("time: stream", 0.0), ("time: stream\nkafka: {canary_ms: 500}", 0.5), ("kafka: {canary_ms: 0}", 0.0),
        ("source: file", 0.0), ("source: file\nkafka: {canary_ms: 500}", 0.0),
    ],
)  # fmt: skip
def test_canaries_fly_at_the_bedside_unless_it_is_said_otherwise(load, text, every_s):
    assert every_s == load(text).canary_s()
