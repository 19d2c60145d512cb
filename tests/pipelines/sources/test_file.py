from contextlib import ExitStack

import pytest

from pipelines.errors import SourceError
from pipelines.sources.file import FileSource, wrapped


class Owner:
    """Remembers what it was told, and answers with the positions it was given."""

    def __init__(self, positions=None):
        self.positions = positions or {}
        self.told = []

    def gained(self, partition):
        self.told.append(("gained", partition))
        return self.positions

    def lost(self, partition):
        self.told.append(("lost", partition))

    def gap(self, topic, partition, wanted, _earliest):
        self.told.append(("gap", topic, wanted))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "events.ndjson"
    path.write_bytes(b"")
    return path


@pytest.fixture
def follow():
    with ExitStack() as stack:

        def follow(path, positions=None, record_bytes=1024):
            source = FileSource(path, Owner(positions), record_bytes)
            stack.callback(source._close_file)
            return source

        yield follow


def add(path, text):
    with path.open("ab") as handle:
        handle.write(text)


def read(source, most=100):
    return [(record.offset, record.value) for record in source.poll(most, 1)]


def test_a_line_is_a_record_at_its_byte_and_reading_resumes_behind_it(file, follow):
    file.write_bytes(b"one\ntwo\n\n  \r\nthree\r\n")
    records = follow(file).poll(100, 1)

    assert [(0, 4, b"one"), (4, 8, b"two"), (13, 20, b"three")] == [(r.offset, r.next_offset, r.value) for r in records]
    assert {("events.ndjson", 0)} == {(r.topic, r.partition) for r in records}


def test_a_last_line_without_its_newline_waits(file, follow):
    source = follow(file)
    add(file, b"whole\nhal")

    assert [(0, b"whole")] == read(source)
    assert [] == read(source)

    add(file, b"f\n")

    assert [(6, b"half")] == read(source)


def test_no_more_records_than_asked_for(file, follow):
    file.write_bytes(b"a\nb\nc\n")
    source = follow(file)

    assert [(0, b"a"), (2, b"b")] == read(source, most=2)
    assert not source.idle(0)
    assert [(4, b"c")] == read(source, most=2)
    assert source.idle(0)


@pytest.mark.parametrize("lines", [[b"a", b"bb", b"", b"cccc"], [b"x" * 70_000, b"y"]])
def test_reading_resumes_exactly_at_any_stored_position(file, lines, follow):
    file.write_bytes(b"\n".join(lines) + b"\n")
    everything = follow(file, record_bytes=1 << 20).poll(100, 1)
    for at, record in enumerate(everything):
        resumed = follow(file, {"events.ndjson": record.next_offset}, record_bytes=1 << 20)

        assert everything[at + 1 :] == resumed.poll(100, 1)


def test_a_file_that_is_not_there_yet_is_waited_for(tmp_path, follow):
    path = tmp_path / "later.ndjson"
    source = follow(path)

    assert [] == read(source)
    assert not source.up()

    path.write_bytes(b"a\n")

    assert [(0, b"a")] == read(source)
    assert source.up()


def test_a_truncated_file_is_read_from_its_start(file, follow):
    source = follow(file)
    file.write_bytes(b"first line\nhal")
    read(source)
    file.write_bytes(b"new\n")

    assert [(0, b"new")] == read(source)


def test_a_replaced_file_is_read_to_its_end_before_the_new_one(file, tmp_path, follow):
    source = follow(file)
    add(file, b"a\n")
    read(source)
    add(file, b"b\nunfinished")
    file.rename(tmp_path / "events.ndjson.1")
    file.write_bytes(b"c\n")

    assert [(2, b"b")] == read(source)
    assert [(4, b"unfinished"), (0, b"c")] == read(source)


def test_between_the_two_steps_of_a_rotation_nothing_is_lost(file, tmp_path, follow):
    source = follow(file)
    add(file, b"a\n")
    assert [(0, b"a")] == read(source)
    add(file, b"b\n")
    file.rename(tmp_path / "old")

    assert [(2, b"b")] == read(source)
    assert [] == read(source)

    file.write_bytes(b"c\n")

    assert [(0, b"c")] == read(source)


@pytest.mark.parametrize("position", [3, 400])
def test_a_stored_position_that_ends_no_line_means_another_file(file, position, follow):
    file.write_bytes(b"some line\nanother\n")
    source = follow(file, {"events.ndjson": position})

    assert [(0, b"some line"), (10, b"another")] == read(source)
    assert ("gap", "events.ndjson", position) in source._owner.told


def followed_to_its_end(source):
    last = source.poll(100, 1)[-1]
    return {"events.ndjson": last.next_offset, **source.marks(0)}


@pytest.mark.parametrize("longer", [b"", b"and,more\n"])
def test_a_file_that_was_replaced_while_nobody_followed_is_read_from_its_start(file, follow, caplog, longer):
    file.write_bytes(b"old,line\nold,next\n")
    positions = followed_to_its_end(follow(file))
    file.write_bytes(b"new,line\nnew,next\n" + longer)
    source = follow(file, positions)

    assert [b"new,line", b"new,next"] == [value for _, value in read(source)][:2]
    assert ("gap", "events.ndjson", 18) in source._owner.told
    assert "file_changed" in caplog.text


def test_a_file_that_only_grew_while_nobody_followed_is_read_on(file, follow):
    file.write_bytes(b"x" * 400 + b"\nb\n")
    source = follow(file)
    positions = followed_to_its_end(source)
    add(file, b"c\n")

    assert [(403, b"c")] == read(follow(file, positions))

    add(file, b"d\n")
    resumed = follow(file, positions)
    positions = followed_to_its_end(resumed)
    add(file, b"e\n")

    assert [(407, b"e")] == read(follow(file, positions))


def test_a_record_as_large_as_the_limit_can_be_redriven(file, follow):
    original = b"x" * 60_000
    file.write_bytes(wrapped(1 << 62, original))
    (again,) = follow(file, record_bytes=60_000).poll(1, 1)

    assert (1 << 62, original, None) == (again.redriven, again.value, again.whole_bytes)


def test_a_line_that_was_cut_says_how_long_it_was_and_is_nobodys_redriven_letter(file, follow):
    file.write_bytes(b"x" * 300_000 + b"\n" + wrapped(7, b"y" * 300_000))
    cut, letter = follow(file).poll(100, 1)

    assert (300_001, None) == (cut.whole_bytes, cut.redriven)
    assert letter.redriven is None
    assert len(cut.value) < 200_000


def test_of_a_line_that_is_too_long_only_the_start_is_held(file, follow):
    add(file, b"x" * 5_000_000)
    source = follow(file)
    read(source)

    assert len(source._line) < 200_000

    add(file, b"x\nnext\n")
    (long, after) = source.poll(100, 1)

    assert 1024 < len(long.value) < 200_000
    assert (5_000_002, b"next") == (after.offset, after.value)


def test_a_redriven_line_gives_the_original_bytes_back(file, follow):
    original = b'not json \xff\n"x"'
    file.write_bytes(wrapped(7, original) + b'{"type":"redriven",broken\n')
    again, broken = follow(file).poll(100, 1)

    assert (7, original) == (again.redriven, again.value)
    assert (None, b'{"type":"redriven",broken') == (broken.redriven, broken.value)


@pytest.mark.parametrize("number", ["0", "-1", "1e400", "true", '"7"', "9" * 19, "9" * 5_000])
def test_a_number_that_no_dead_letter_has_is_no_redriven_line(file, follow, number):
    line = b'{"type":"redriven","id":%s,"value":""}' % number.encode()
    file.write_bytes(line + b"\n")
    (record,) = follow(file).poll(100, 1)

    assert (None, line) == (record.redriven, record.value)


def test_the_owner_is_told_once_and_loses_it_at_the_end(file, follow):
    source = follow(file)
    source.poll(1, 1)
    source.poll(1, 1)
    source.close()

    assert [("gained", 0), ("lost", 0)] == source._owner.told


def test_an_unreadable_file_is_an_error_of_the_source(tmp_path, follow):
    (tmp_path / "folder").mkdir()
    with pytest.raises(SourceError, match="cannot be read"):
        follow(tmp_path / "folder").poll(1, 1)
