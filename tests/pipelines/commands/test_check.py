"""`itbwatch check` names every mistake of what a site wrote, and looks at broker and store when asked to."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from models.artefact import MANIFEST, _own_digest
from models.bundle import FOLDER
from pipelines.kafka_clients import TOPIC_CONFIG, create_topics
from pipelines.plan_files import CATALOGUE
from pipelines.settings import Kafka, Topics
from tests.kafka.broker import Broker


def check(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipelines", "check", *words], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with a site's own copy of the catalogue and a config.yaml that names it."""
    shutil.copytree(CATALOGUE, tmp_path / "catalogue", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    write(tmp_path)
    return tmp_path


def write(site: Path, **keys: object) -> None:
    keys = {"rules": {"catalogue": str(site / "catalogue")}, "store": {"path": str(site / "store.sqlite")}} | keys
    (site / "config.yaml").write_text(yaml.safe_dump(keys))


def test_what_is_shipped_is_right() -> None:
    done = check()

    assert (0, "") == (done.returncode, done.stderr)
    assert "rules: 23" in done.stdout
    assert all(f"  {rule} " in done.stdout for rule in ("W-03", "R-06", "C-13", "CTX-01", "L-20", "P-22"))


@pytest.mark.parametrize("where", ["models", "shadow"])
def test_models_of_another_feature_set_are_refused_before_the_service_starts(site: Path, where: str) -> None:
    shutil.copytree(FOLDER, site / "fitted")
    manifest = json.loads((site / "fitted" / MANIFEST).read_text()) | {"columns_digest": "0" * 64}
    manifest["digest"] = _own_digest(manifest)
    (site / "fitted" / MANIFEST).write_text(json.dumps(manifest))
    named = str(site / "fitted")
    write(site, **({"models": {"folder": named}} if where == "models" else {"shadow": {"models": named}}))

    done = check("--config", str(site / "config.yaml"))

    assert 2 == done.returncode
    assert "$.columns_digest: 000000000000; expected" in done.stderr
    assert 1 == len(done.stderr.splitlines())


def test_every_mistake_of_every_file_is_one_line_with_its_path(site: Path) -> None:
    write(site, pump_registr="complete", poll={"max_records": 0})
    rule = site / "catalogue" / "rules" / "R-07.yaml"
    rule.write_text(rule.read_text().replace("doubling_within", "doubling_withn"))
    done = check("--config", str(site / "config.yaml"))

    assert 2 == done.returncode
    assert "$.pump_registr: unknown key" in done.stderr
    assert "did you mean 'pump_register'?" in done.stderr
    assert "$.poll.max_records: 0" in done.stderr

    write(site)
    done = check("--config", str(site / "config.yaml"))
    assert 2 == done.returncode
    assert "R-07.yaml $.when.any[0].grows.doubling_withn: unknown key" in done.stderr


def test_an_example_that_no_longer_holds_is_named(site: Path) -> None:
    rule = site / "catalogue" / "rules" / "W-04.yaml"
    rule.write_text(rule.read_text().replace("fever-38.0-in-4h", "fever-38.5-in-24h", 1))
    done = check("--config", str(site / "config.yaml"))

    assert 2 == done.returncode
    assert "W-04.yaml $.examples[0].expect: 'fires on 38.0 twice" in done.stderr
    assert "W-04 is false; expected true" in done.stderr


def test_with_connect_a_file_source_needs_no_broker_and_the_store_is_opened(site: Path) -> None:
    write(site, source="file")
    done = check("--config", str(site / "config.yaml"), "--connect")

    assert (0, "") == (done.returncode, done.stderr)
    assert "is writable" in done.stdout
    assert (site / "store.sqlite").exists()


def test_mistakes_of_keys_files_and_codes_are_named_together_with_the_path_of_the_file(site: Path) -> None:
    write(site, sorce="file", identity_key_file="nowhere", code_map={"LAB1": {"signal": "creatinin"}})
    lines = check("--config", str(site / "config.yaml")).stderr.splitlines()

    assert all(line.startswith(f"{site / 'config.yaml'} $.") for line in lines)
    assert ["$.sorce:", "$.identity_key_file:", "$.code_map.LAB1.signal:"] == [line.split()[1] for line in lines]


def test_a_catalogue_that_is_not_there_hides_no_mistake_of_the_other_files(site: Path) -> None:
    names = ("nowhere", "overlay.yaml", "next.yaml", "drift.json", "no models")
    catalogue, overlay, challenger, drift, models = (str(site / name) for name in names)
    Path(overlay).write_text("overlay: 1\ntitle: t\nbecause: b\nchanges: [{rule: W-05, key: severity}]\n")
    Path(drift).write_text("{}")
    write(site, rules={"catalogue": catalogue}, overlay=overlay, shadow={"overlay": challenger},
          drift={"reference": drift}, models={"folder": models})  # fmt: skip
    done = check("--config", str(site / "config.yaml"))

    assert 2 == done.returncode
    for told in (f"{catalogue}/signals.yaml: cannot be read", f"{overlay} $.changes[0]: 'because' is missing", f"{challenger}: cannot be read",
                 f"{drift}: Object missing required field", f"{models}/manifest.json: no such file"):  # fmt: skip
        assert 1 == done.stderr.count(told), told


def test_a_code_of_the_site_that_is_wrong_hides_no_rule_that_is(site: Path) -> None:
    write(site, code_map={"LAB1": {"signal": "creatinin"}})
    rule = site / "catalogue" / "rules" / "R-07.yaml"
    rule.write_text(rule.read_text().replace("doubling_within", "doubling_withn"))
    lines = check("--config", str(site / "config.yaml")).stderr.splitlines()

    assert ["$.code_map.LAB1.signal:", "$.when.any[0].grows.doubling_withn:"] == [line.split()[1] for line in lines]


def test_a_store_that_cannot_be_written_ends_with_74(site: Path) -> None:
    write(site, source="file", store={"path": str(site / "nowhere" / "store.sqlite")})
    done = check("--config", str(site / "config.yaml"), "--connect")

    assert 74 == done.returncode
    assert "nowhere" in done.stderr
    assert "expected a writable path" in done.stderr


def topics_of(prefix: str) -> dict[str, str]:
    return {role: prefix + name for role, name in Topics().model_dump().items()}


def make(bootstrap: str, partitions: dict[str, int], **config: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        admin.create_topics({name: {"num_partitions": count, "replication_factor": 1, "configs": TOPIC_CONFIG | config}
                             for name, count in partitions.items()})  # fmt: skip
    finally:
        admin.close()


def alter(bootstrap: str, topic: str, **config: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=config)])
    finally:
        admin.close()


def test_with_connect_topics_that_are_right_pass(kafka: Broker, topic_prefix: str, site: Path) -> None:
    names = topics_of(topic_prefix)
    make(kafka.bootstrap, dict.fromkeys(names.values(), 3))
    write(site, time="stream", kafka={"bootstrap_servers": [kafka.bootstrap], "topics": names})
    done = check("--config", str(site / "config.yaml"), "--connect")

    assert (0, "") == (done.returncode, done.stderr)
    assert "3 partitions" in done.stdout


def test_with_connect_a_topic_of_merges_that_is_too_small_for_a_dense_patient_is_told_and_one_we_make_is_right(
    kafka: Broker, topic_prefix: str, site: Path
) -> None:  # fmt: skip
    for prefix, ours in ((f"{topic_prefix}by-hand.", False), (f"{topic_prefix}ours.", True)):
        names = topics_of(prefix)
        settings = Kafka(bootstrap_servers=[kafka.bootstrap], topics=Topics(**names))
        if ours:
            create_topics(settings, names.values(), 1)
        else:
            make(kafka.bootstrap, dict.fromkeys(names.values(), 1))
        write(site, time="stream", kafka={"bootstrap_servers": [kafka.bootstrap], "topics": names})
        done = check("--config", str(site / "config.yaml"), "--connect")

        assert 0 == done.returncode
        assert ours != (f"advice: kafka topic {names['merges']!r} max.message.bytes: '1048588'" in done.stdout)


def test_with_connect_every_topic_that_is_wrong_is_named(
    kafka: Broker, topic_prefix: str, site: Path
) -> None:  # fmt: skip
    names = topics_of(topic_prefix)
    counts = {name: 2 for role, name in names.items() if role != "alerts"}
    counts[names["pumps"]] = 1
    make(kafka.bootstrap, counts)
    alter(
        kafka.bootstrap, names["observations"],
        **(TOPIC_CONFIG | {"message.timestamp.type": "LogAppendTime", "retention.ms": "604800000"}),
    )  # fmt: skip
    config = {"bootstrap_servers": [kafka.bootstrap], "topics": names}
    write(site, time="stream", kafka=config)
    done = check("--config", str(site / "config.yaml"), "--connect")

    assert 2 == done.returncode
    lines = done.stderr.splitlines()
    assert any(f"{names['pumps']!r}" in line and "2 and 1 partitions" in line for line in lines)
    assert any(f"{names['alerts']!r} does not exist" in line for line in lines)
    assert any(f"{names['observations']!r} message.timestamp.type: 'LogAppendTime'; expected CreateTime" in line for line in lines)  # fmt: skip
    assert any(f"{names['observations']!r} retention.ms: '604800000'; expected -1" in line for line in lines)

    write(site, time="wall", kafka=config)  # what is live may be deleted by age
    assert "retention.ms" not in check("--config", str(site / "config.yaml"), "--connect").stderr


def test_a_broker_that_does_not_answer_ends_with_74(site: Path, unused_port: Callable[[], int]) -> None:
    write(site, kafka={"bootstrap_servers": [f"127.0.0.1:{unused_port()}"]})
    done = check("--config", str(site / "config.yaml"), "--connect")

    assert 74 == done.returncode
    assert "does not answer" in done.stderr


@pytest.fixture
def unused_port() -> Callable[[], int]:
    import socket

    def port() -> int:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            return int(one.getsockname()[1])

    return port


def test_an_overlay_is_shown_change_by_change_and_its_mistakes_are_named(site: Path) -> None:
    overlay = site / "quieter.yaml"
    change = "{rule: W-05, key: severity, from: %s, to: watch, because: CK alone}"
    overlay.write_text(
        f"overlay: 1\ntitle: quieter\nbecause: budget\nexpected: {{burden: 1.0}}\nchanges:\n- {change % 'warning'}\n"
    )
    done = check("--config", str(site / "config.yaml"), "--overlay", str(overlay))

    assert (0, "") == (done.returncode, done.stderr)
    assert "quieter, 1 changes" in done.stdout
    assert "expected burden: 1.0" in done.stdout
    assert "W-05    severity: warning -> watch, because CK alone" in done.stdout
    assert "of rules: CTX-02, L-19, W-05" in done.stdout

    write(site, overlay=str(overlay))
    overlay.write_text(overlay.read_text().replace("from: warning", "from: critical"))
    done = check("--config", str(site / "config.yaml"))
    assert 2 == done.returncode
    assert f"{overlay} $.changes[0].from: 'critical': W-05 says 'warning' now" in done.stderr


def test_the_plan_in_the_shadow_is_checked_too(site: Path) -> None:
    write(site, shadow={"overlay": str(site / "none.yaml")})
    done = check("--config", str(site / "config.yaml"))

    assert 2 == done.returncode
    assert "none.yaml: cannot be read" in done.stderr
    (site / "none.yaml").write_text("overlay: 1\ntitle: as it is\nbecause: a look\nchanges: []\n")
    done = check("--config", str(site / "config.yaml"))
    assert (0, "") == (done.returncode, done.stderr)
    assert "none.yaml, 0 changes" in done.stdout
