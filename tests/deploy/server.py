"""A real Prometheus on loopback that scrapes every second, with the shipped rules or with a copy whose times are shortened.

``FASTER`` is all that differs in the copy: nobody waits a day in a test. The times themselves are proven by promtool.
"""

import json
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Self

import yaml

from tests.deploy.names import PROMETHEUS
from tests.kafka.broker import DIE_WITH_PARENT, free_port

READY_WITHIN_S = 30
FASTER = (
    (r"interval: \w+", "interval: 1s"),
    (r"\bfor: \w+", "for: 1s"),
    (r"\[28d:10m\]", "[8s:1s]"),
    (r"\[28d\]", "[8s]"),
    (r"\[1d\]|\[1h\]|\[5m\]", "[5s]"),
    (r"\[10m\]", "[4s]"),
    (r"> 900\b", "> 6"),
    (r"> 60\b", "> 6"),
    (r"> 500\b", "> 50"),
)


class Prometheus:
    """`with Prometheus(folder, targets) as server`. ``targets`` are host:port, and may be changed."""

    def __init__(self, folder: Path, *targets: str) -> None:
        self._folder = folder
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        for name in ("recording.yml", "alerts.yml"):
            text = (PROMETHEUS / name).read_text()
            for pattern, shorter in FASTER:
                text = re.sub(pattern, shorter, text)
            (folder / name).write_text(text)
        self._configure(targets)

    def __enter__(self) -> Self:
        program = shutil.which("prometheus")
        assert program is not None
        with (self._folder / "prometheus.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*DIE_WITH_PARENT, program, f"--config.file={self._folder / 'prometheus.yml'}",
                 f"--storage.tsdb.path={self._folder / 'data'}", f"--web.listen-address=127.0.0.1:{self._port}",
                 "--web.enable-lifecycle", "--log.level=warn"],
                stdout=log, stderr=log, cwd=self._folder,
            )  # fmt: skip
        deadline = time.monotonic() + READY_WITHIN_S
        while True:
            try:
                self._get("-/ready")
            except OSError:
                assert time.monotonic() < deadline, (self._folder / "prometheus.log").read_text()
                time.sleep(0.1)
            else:
                return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def scrape(self, *targets: str) -> None:
        """From now on these; none = nothing is found any more."""
        self._configure(targets)
        request = urllib.request.Request(f"http://127.0.0.1:{self._port}/-/reload", method="POST")
        urllib.request.urlopen(request, timeout=10).close()

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The vector of an expression now: ``metric`` and ``value`` of each sample."""
        found = json.loads(self._get("api/v1/query?" + urllib.parse.urlencode({"query": expression})))["data"]
        if found["resultType"] == "scalar":
            return [{"metric": {}, "value": found["result"]}]
        return list(found["result"])

    def firing(self) -> set[str]:
        """The names of the alerts that fire."""
        return {one["metric"]["alertname"] for one in self.query('ALERTS{alertstate="firing"}')}

    def wait(self, holds: Any, seconds: float = 60) -> None:
        """Until it holds; the failure says what was firing."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, f"waited in vain; firing: {sorted(self.firing())}"
            time.sleep(0.2)

    def _configure(self, targets: tuple[str, ...]) -> None:
        configuration = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
        configuration["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
        [job] = configuration["scrape_configs"]
        job["static_configs"][0]["targets"] = list(targets)
        del configuration["alerting"]
        (self._folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/{path}", timeout=10) as answer:
            return bytes(answer.read())
