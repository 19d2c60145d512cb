"""Every command of docs/operations.md is run, in its order, at a site with a real broker, service and database.

Only lines of ``docker`` and ``kubectl`` are left out: they need a cluster. A block that must have the service stopped says so.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.deploy.names import ROOT
from tests.pipelines.live import Site, done

PAGE = (ROOT / "docs" / "operations.md").read_text()
BLOCKS = [block.replace("\\\n", " ") for block in re.findall(r"^```\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)]
NEEDS_A_CLUSTER = ("docker ", "kubectl ")
NEEDS_ROOT = ("chown ",)
IN_A_CHECKOUT = ("make torture",)  # tests/torture runs it
TOKEN = "t" * 32


def lines_of(block):
    left_out = (*NEEDS_A_CLUSTER, *IN_A_CHECKOUT, *(NEEDS_ROOT if os.geteuid() else ()))
    return [line for line in block.splitlines() if line.strip() and not line.startswith(left_out)]


class Machine:
    """A folder with what the page expects to be there: deploy/, site.yaml, a past; and the service, when it runs."""

    def __init__(self, folder, broker, database):
        self.folder, self.broker = folder, broker
        self.running = ExitStack()
        self.stream = None
        shutil.copytree(ROOT / "deploy", folder / "deploy", ignore=shutil.ignore_patterns("__pycache__", "secrets"))
        tool = folder / "kafka" / "kafka-topics.sh"
        tool.parent.mkdir()
        main = "org.apache.kafka.tools.TopicCommand"
        tool.write_text(f'#!/bin/sh\nexec java -Xmx128m -XX:TieredStopAtLevel=1 -cp "{broker.jars}/*" {main} "$@"\n')
        tool.chmod(0o755)
        (folder / "tokens").touch(0o600)
        (folder / "tokens").write_text(f"nurse: {TOKEN}\n")
        (folder / "site.yaml").write_text(json.dumps({
            "kafka": {"bootstrap_servers": [broker.bootstrap], "session_timeout_ms": 6_000, "heartbeat_interval_ms": 1_000},
            "time": "stream", "store": {"path": "itbwatch.sqlite"}, "http": {"port": 0, "tokens_file": "tokens"},
            "wards": ["MICU"],
        }))  # fmt: skip
        self.address = database.address(database.database()).replace("+psycopg", "")
        self.alert_id = None

    def start(self):
        """The published case is on the topics, and the service has read it."""
        if self.stream is not None:
            return
        site = Site.__new__(Site)
        site.bootstrap, site.prefix, site.folder = self.broker.bootstrap, "", self.folder
        site.config, site.log = self.folder / "site.yaml", self.folder / "stream.log"
        self.stream = self.running.enter_context(site.streaming())
        self.stream.wait(lambda: self.stream.lags() and not any(self.stream.lags()))
        self.stream.wait(site.stored)
        self.alert_id = next(one["alert_id"] for one in site.stored() if one["syndrome"] == "itb_withdrawal")

    def stop(self):
        if self.stream is not None:
            self.stream.stop()
            self.running.close()
            self.stream = None

    def run(self, block):
        script = "\n".join(lines_of(block)).replace("127.0.0.1:9092", self.broker.bootstrap)
        script = script.replace("/opt/kafka/bin", str(self.folder / "kafka"))
        if self.stream is not None:
            script = script.replace("ALERT_ID", str(self.alert_id)).replace("http://127.0.0.1:8480/", self.stream.url())
        said = {"TOKEN": TOKEN, "DATABASE": self.address, "PYTHONPATH": str(ROOT), "RETENTION_MS": "-1"}
        said["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        finished = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder,
            env=os.environ | said,
            capture_output=True,
            text=True,
            check=False,
        )

        assert 0 == finished.returncode, f"{script}\n{finished.stdout}{finished.stderr}"
        return finished.stdout


@pytest.fixture(scope="module")
def ward(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ward")
    done("simulate", "--out", folder, "--published-case")
    return folder


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_command_of_the_page_does_what_it_says_at_a_real_site(
    new_broker, postgresql, promtool, amtool, ward, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    machine = Machine(tmp_path, new_broker(), postgresql)
    for file in ward.iterdir():
        (tmp_path / file.name).symlink_to(file)
    with machine.running:
        for block in BLOCKS:
            if re.search(r"^(itbwatch (redrive|unmapped|explain|ack)|curl|sqlite3)", block, re.MULTILINE):
                if machine.stream is None:
                    done("publish", "ward.ndjson", "--config", "site.yaml")
                    machine.start()
            elif "stopped" in block:
                machine.stop()
            said = machine.run(block)
            if "curl" in block:
                assert '"error"' not in said
        machine.stop()


def test_only_what_needs_a_cluster_is_left_out():
    left_out = [line for block in BLOCKS for line in block.splitlines() if line.startswith(NEEDS_A_CLUSTER)]

    assert len(BLOCKS) > 10
    assert len(left_out) < len([line for block in BLOCKS for line in lines_of(block)])
