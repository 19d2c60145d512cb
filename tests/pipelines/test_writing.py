"""What ``ack`` and ``redrive`` write into our own input."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pipelines import writing
from pipelines.errors import SourceError
from pipelines.settings import File, Settings
from pipelines.writing import EventWriter


def send(path: Path) -> None:
    with EventWriter(Settings(source="file", file=File(path=str(path)))) as writer:
        writer.send("acknowledgements", b"{}", key=b"p", timestamp=0)


def test_a_line_that_another_writer_has_not_finished_is_waited_for_and_not_glued_to(tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes(b'{"half":')

    def finish() -> None:
        with path.open("ab") as file:
            file.write(b"1}\n")

    other = threading.Timer(0.3, finish)
    other.start()
    send(path)
    other.join()

    assert b'{"half":1}\n{}\n' == path.read_bytes()


def test_a_line_that_stays_unfinished_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "FINISHED_S", 0.2)
    path = tmp_path / "events.ndjson"
    path.write_bytes(b'{"half":')

    with pytest.raises(SourceError, match="its last line is not finished; expected a newline"):
        send(path)
    assert b'{"half":' == path.read_bytes()


def test_an_empty_file_takes_the_first_line(tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    path.touch()
    send(path)

    assert b"{}\n" == path.read_bytes()


def test_a_line_that_a_full_disk_takes_only_in_part_is_taken_back_and_refused(tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes(b"1\n")
    program = (
        "import resource, sys; from pathlib import Path; from tests.pipelines.test_writing import send\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4, 4))\n"  # 2 of the 3 bytes fit
        "send(Path(sys.argv[1]))"
    )
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", program, str(path)]
    ended = subprocess.run(command, cwd=root, check=False, capture_output=True, text=True)

    assert 0 != ended.returncode
    assert "SourceError" in ended.stderr
    assert "No space left" in ended.stderr
    assert b"1\n" == path.read_bytes()
