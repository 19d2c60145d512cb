"""The jars of Spark's Kafka source, which pyspark leaves out: by pom.xml through Maven, once, into .cache/spark-libs."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
POM = Path(__file__).with_name("pom.xml")
LIBS = ROOT / ".cache" / "spark-libs"


class ConnectorMissingError(RuntimeError):
    """Maven or the jars are missing; the message says which."""


def ensure_jars() -> Path:
    """Return the folder of the jars, fetching them when pom.xml is another one; parallel callers wait for one."""
    wanted = POM.read_text()
    stamp = LIBS / "pom.xml"  # written last: its presence says that the copy is complete
    LIBS.parent.mkdir(exist_ok=True)
    with (LIBS.parent / "spark-libs.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == wanted:
            return LIBS
        if shutil.which("mvn") is None:
            raise ConnectorMissingError("Maven (mvn) is not installed and the jars are not in .cache/spark-libs")
        shutil.rmtree(LIBS, ignore_errors=True)
        command = ["mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies"]
        command += ["-DincludeScope=runtime", f"-DoutputDirectory={LIBS}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            lines = (done.stdout + done.stderr).strip().splitlines()
            said = lines[0] if lines else f"exit status {done.returncode}"
            raise ConnectorMissingError(f"Maven could not fetch Spark's source of Kafka records: {said}")
        stamp.write_text(wanted)
    return LIBS


if __name__ == "__main__":
    print(ensure_jars())
