"""deploy/topics.sh makes topics with Kafka's own command, and the pre-flight has nothing to say about them."""

import json
import os
import subprocess

import pytest

from tests.deploy.names import ROOT
from tests.pipelines.live import finished


@pytest.mark.slow
def test_the_topics_that_the_script_makes_pass_the_preflight(new_broker, tmp_path):
    broker = new_broker()
    command = tmp_path / "kafka-topics.sh"
    command.write_text(
        "#!/bin/sh\n"
        f'exec java -Xmx128m -XX:TieredStopAtLevel=1 -cp "{broker.jars}/*" org.apache.kafka.tools.TopicCommand "$@"\n'
    )
    command.chmod(0o755)
    environment = {"KAFKA_BIN": str(tmp_path), "BOOTSTRAP": broker.bootstrap, "PARTITIONS": "3", "REPLICAS": "1"}
    subprocess.run(["sh", ROOT / "deploy/topics.sh"], env=os.environ | environment, check=True, capture_output=True)
    config = tmp_path / "config.yaml"
    store = {"path": str(tmp_path / "store.sqlite")}
    config.write_text(json.dumps({"kafka": {"bootstrap_servers": [broker.bootstrap]}, "store": store}))
    checked = finished("check", "--connect", "--config", config)

    assert 0 == checked.returncode, checked.stderr
    assert "advice" not in checked.stdout + checked.stderr
    assert "3 partitions" in checked.stdout
