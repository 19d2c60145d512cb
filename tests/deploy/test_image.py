"""The image without a container engine: its steps as a script in a clean folder, then the service as somebody without rights, from a
tree that nobody may write.
"""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.names import ROOT
from tests.kafka.broker import free_port

DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text().replace("\\\n", " ")
BUILD = DOCKERFILE.split("\nFROM ")[1]
NOBODY = 10001
START_WITHIN_S = 120


def everything_in(folder: Path) -> Iterator[Path]:
    yield folder
    for path in folder.rglob("*"):
        if not path.is_symlink():
            yield path


@pytest.fixture(scope="module")
def image():
    """(the folder that stands for /opt/itbwatch, the one for /var/lib/itbwatch)."""
    base = Path(tempfile.mkdtemp(prefix="itbwatch-image-"))  # pytest's folders are closed to nobody
    base.chmod(0o755)
    yield from _made(base)
    shutil.rmtree(base)


def _made(base):
    source, opt, state = base / "src", base / "opt", base / "state"
    for words in re.findall(r"^COPY (?!--from)(.+)$", BUILD, re.MULTILINE):
        *files, target = words.split()
        inside = source / Path(target).relative_to("/src")
        for file in files:
            if (ROOT / file).is_dir():
                shutil.copytree(ROOT / file, inside, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                inside.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / file, inside)
    [steps] = re.findall(r"^RUN (.+)$", BUILD, re.MULTILINE)
    # The package cache is ours to use here; in an image it would only be weight.
    script = (
        steps.replace("/opt/itbwatch", str(opt))
        .replace("--no-cache-dir", "-q")
        .replace("python -m venv", f"{sys.executable} -m venv")
    )
    subprocess.run(["sh", "-euc", script], cwd=source, check=True, capture_output=True)
    shutil.rmtree(source)
    for path in everything_in(opt):
        path.chmod(
            path.stat().st_mode & ~0o222
            | stat.S_IROTH
            | (stat.S_IXOTH if path.is_dir() or path.stat().st_mode & 0o100 else 0)
        )
    state.mkdir(0o700)
    if os.geteuid() == 0:
        os.chown(state, NOBODY, NOBODY)
    yield opt, state


def as_nobody(*words: object) -> list[str]:
    """The command without a right, where we have some to give up."""
    if os.geteuid() != 0:
        return [*map(str, words)]
    rights = [
        f"--reuid={NOBODY}",
        f"--regid={NOBODY}",
        "--clear-groups",
        "--bounding-set=-all",
        "--inh-caps=-all",
        "--no-new-privs",
    ]
    return ["setpriv", *rights, *map(str, words)]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_the_image_holds_runs_as_nobody_from_a_tree_it_cannot_write(image, tmp_path):
    opt, state = image
    before = {path: path.stat().st_mtime_ns for path in everything_in(opt)}
    port = free_port()
    config = state.parent / "config.yaml"
    config.write_text(json.dumps({"source": "file", "http": {"port": port}}))
    config.chmod(0o644)
    environment = {"PATH": f"{opt}/bin:/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
    refused = subprocess.run(as_nobody("touch", opt / "written"), capture_output=True, check=False)

    assert 0 != refused.returncode

    subprocess.run(as_nobody("touch", "events.ndjson"), cwd=state, check=True)
    with (tmp_path / "log").open("w") as log:
        service = subprocess.Popen(
            as_nobody(opt / "bin/itbwatch", "stream", "--config", config),
            cwd=state,
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        [asked] = re.findall(r"^HEALTHCHECK .*CMD (\[.+\])$", DOCKERFILE, re.MULTILINE)
        words = [word.replace("8480", str(port)) for word in json.loads(asked)]
        deadline = time.monotonic() + START_WITHIN_S
        while subprocess.run(as_nobody(*words), env=environment, capture_output=True, check=False).returncode:
            assert service.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(1)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as metrics:
            assert b"itbwatch_store_up 1.0" in metrics.read()
        service.terminate()

        assert 0 == service.wait(10)
    finally:
        service.kill()
        service.wait()
    assert before == {path: path.stat().st_mtime_ns for path in everything_in(opt)}
    assert 0o600 == stat.S_IMODE((state / "itbwatch.sqlite").stat().st_mode)
