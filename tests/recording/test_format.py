"""The file: what is written is read, what is cut or flipped is never taken for data."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from colossus_protos.v1 import recording_pb2
from colossus_tui.recording import FileSink, Recording, RecordingError, Writer
from colossus_tui.recording import format as form
from colossus_tui.recording.format import BLOCK_HEAD, FILE_HEAD, Kind
from tests.recording.made import START, recorded, runs

KEEPS_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def contents(path: Path) -> list[tuple[int, str, bytes, bool]]:
    """Return every change that can be read, in order."""
    with Recording(path) as recording:
        place, found = 0, []
        while place < len(recording.blocks):
            changes = recording.changes(place)
            found += [(c.time_unix_ns, c.topic, c.value, c.removed) for c in changes]
            place += 1
        return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded(tmp_path_factory.mktemp("recording") / "whole.clrec")


TOPICS = st.tuples(
    st.sampled_from(["runs", "run/10t", "node/n%2F1"]),
    st.integers(0, 3),
    st.lists(st.text("abc/:%é", max_size=4), max_size=3, unique=True),
)


@KEEPS_FOLDER
@given(puts=st.lists(TOPICS, min_size=1, max_size=30))
def test_what_is_written_is_read(tmp_path: Path, puts: list[tuple[str, int, list[str]]]) -> None:
    path = tmp_path / "some.clrec"
    path.unlink(missing_ok=True)
    writer, expected, second = Writer(FileSink(path)), {}, 0
    for scope, passed, names in puts:
        second += passed
        answer = runs(second, *names, step=second)
        writer.put(scope, answer)
        expected[scope] = answer
    writer.close()

    with Recording(path) as recording:
        assert recording.damage == ""
        state: dict[str, bytes] = {}
        for place in range(len(recording.blocks)):
            if recording.blocks[place].kind is Kind.KEYFRAME:
                state = {}
            for change in recording.changes(place):
                state[change.topic] = change.value
                if change.removed:
                    del state[change.topic]
    from colossus_tui.recording.topics import join

    for scope, answer in expected.items():
        parts = {t.partition(":")[2]: v for t, v in state.items() if t.startswith(f"{scope}:")}
        assert join(parts, type(answer)) == answer


@KEEPS_FOLDER
@given(data=st.data())
def test_any_cut_leaves_what_was_before_it(
    whole: Path, tmp_path: Path, data: st.DataObject
) -> None:
    size = whole.stat().st_size
    length = data.draw(st.integers(0, size - 1))
    cut = tmp_path / "cut.clrec"
    cut.write_bytes(whole.read_bytes()[:length])
    try:
        found = contents(cut)
    except RecordingError:
        with Recording(whole) as recording:
            nothing = length < recording.blocks[0].end
        assert nothing
        return

    assert found == contents(whole)[: len(found)]
    with Recording(cut) as recording:
        assert recording.damage.startswith("cut at ")
        assert "whole and replayed" in recording.damage


@KEEPS_FOLDER
@given(data=st.data())
def test_a_flipped_bit_is_never_data(whole: Path, tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(whole.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    flipped = tmp_path / "flipped.clrec"
    flipped.write_bytes(content)
    try:
        found = contents(flipped)
    except RecordingError:
        return

    assert found == contents(whole)[: len(found)]
    with Recording(flipped) as recording:
        recording.verify()
        assert recording.damage


def test_verifying_finds_what_reading_would(whole: Path, tmp_path: Path) -> None:
    content = bytearray(whole.read_bytes())
    with Recording(whole) as recording:
        third = recording.blocks[2]
    content[third.offset + 5] ^= 0xFF
    damaged = tmp_path / "damaged.clrec"
    damaged.write_bytes(content)
    with Recording(damaged) as recording:
        assert recording.damage == ""
        recording.verify()

        assert len(recording.blocks) == 2
        assert recording.damage.startswith("damaged at ")
        assert recording.end_time_unix_ns <= third.first_time_unix_ns


def head_of(
    kind: Kind, payload: bytes, unpacked: int, first: int = START, last: int = START
) -> bytes:
    head = BLOCK_HEAD.pack(
        form.MARKER, kind, 0, 0, len(payload), unpacked, first, last, zlib.crc32(payload), 0
    )[:-4]
    return head + struct.pack("<I", zlib.crc32(head))


def packed(changes: int = 0, topic: str = "a:b") -> bytes:
    block = recording_pb2.RecordedBlock()
    for _ in range(changes):
        block.changes.add(topic=topic, time_unix_ns=START)
    return block.SerializeToString()


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(1 << 28))
    for claimed in (100, (1 << 27) - 1):
        path = tmp_path / f"{claimed}.clrec"
        path.write_bytes(form.file_head() + head_of(Kind.KEYFRAME, bomb, claimed) + bomb)
        with Recording(path) as recording:
            assert recording.changes(0) == ()
            assert "not as long as its head says" in recording.damage


@pytest.mark.parametrize(
    ("blocks", "why"),
    [
        (head_of(Kind.KEYFRAME, b"x", 1 << 30) + b"x", "larger than any"),
        (head_of(Kind.CHANGES, b"x", 1) + b"x", "does not begin with a keyframe"),
        (head_of(Kind.KEYFRAME, b"x", 1, first=2, last=1) + b"x", "contradicts itself"),
        (head_of(Kind.END, b"", 0), "nothing of it is whole"),
        (b"", "no end was written"),
        (b"\0" * 100, "the head of a block's checksum is wrong"),
    ],
)
def test_what_no_writer_writes_is_refused(tmp_path: Path, blocks: bytes, why: str) -> None:
    path = tmp_path / "hostile.clrec"
    path.write_bytes(form.file_head() + blocks)
    with pytest.raises(RecordingError, match=why):
        Recording(path)


@pytest.mark.parametrize(
    "unpacked",
    [b"\xff\xff\xff", packed(1, "x" * 5_000), packed(form.CHANGE_LIMIT + 1)],
    ids=["no protobuf", "a long topic", "too many"],
)
def test_a_block_that_holds_nonsense_ends_it(tmp_path: Path, unpacked: bytes) -> None:
    payload = zstandard.ZstdCompressor().compress(unpacked)
    path = tmp_path / "hostile.clrec"
    path.write_bytes(form.file_head() + head_of(Kind.KEYFRAME, payload, len(unpacked)) + payload)
    with Recording(path) as recording:
        assert recording.changes(0) == ()
        assert recording.damage.startswith("damaged")


@pytest.mark.parametrize(
    ("unpacked", "why"),
    [
        # Changes that cannot be decoded: whether there are too many is found out before.
        (b"\x0a\x01\xff" * (form.CHANGE_LIMIT + 1), "holds more than any"),
        (b"\x8a\x80\x00\x00" * (form.CHANGE_LIMIT + 1) + b"\xff", "holds more than any"),
        (b"\x0a\x05\x08", "holds what is no recording"),
        (b"\x0a", "holds what is no recording"),
        (b"\x0a\x80\x80\x80\x80\x80\x00", "holds what is no recording"),
        (b"\x12\x00", "holds what is no recording"),
    ],
    ids=["too many", "too many, in long form", "cut", "no length", "a long length", "no change"],
)
def test_changes_are_counted_before_they_are_decoded(
    tmp_path: Path, unpacked: bytes, why: str
) -> None:
    payload = zstandard.ZstdCompressor().compress(unpacked)
    path = tmp_path / "hostile.clrec"
    path.write_bytes(form.file_head() + head_of(Kind.KEYFRAME, payload, len(unpacked)) + payload)
    with Recording(path) as recording:
        assert recording.changes(0) == ()
        assert why in recording.damage


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no recording of colossus"),
        (b"hello, world, this is a text", "no recording of colossus"),
        (form.file_head(7), "format is version 7, this program reads version 1"),
        (form.file_head()[:-1] + b"\0", "its first bytes are damaged"),
    ],
)
def test_another_file_is_refused_with_a_reason(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=why):
        Recording(path)


def test_what_follows_the_end_is_not_replayed(whole: Path, tmp_path: Path) -> None:
    longer = tmp_path / "longer.clrec"
    longer.write_bytes(whole.read_bytes() + whole.read_bytes()[FILE_HEAD.size :])
    with Recording(longer) as recording:
        assert "something follows the end" in recording.damage
    assert contents(longer) == contents(whole)


def test_a_folder_or_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="No such file"):
        Recording(tmp_path / "none")
    with pytest.raises(RecordingError, match="directory"):
        Recording(tmp_path)


def test_a_file_is_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "there.clrec"
    path.write_text("precious")
    with pytest.raises(RecordingError, match="there already"):
        FileSink(path)

    assert path.read_text() == "precious"


def test_a_recording_is_its_owners_alone(tmp_path: Path) -> None:
    path = recorded(tmp_path / "new.clrec", 1)

    assert path.stat().st_mode & 0o777 == 0o600


def test_a_large_file_opens_without_being_read(
    whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    reads = Recording._read

    def counted(self: Recording, offset: int, length: int) -> bytes:
        read.append(length)
        return reads(self, offset, length)

    monkeypatch.setattr(Recording, "_read", counted)
    with Recording(whole) as recording:
        assert sum(read) == FILE_HEAD.size + BLOCK_HEAD.size * (len(recording.blocks) + 1)


def test_a_clock_that_was_set_back_stands_still(tmp_path: Path) -> None:
    path = tmp_path / "back.clrec"
    writer = Writer(FileSink(path))
    for second in (100, 101, 20, 21, 102):
        writer.put("runs", runs(second, "10t", step=second))
        writer.flush()
    writer.close()
    times = [time for time, *_ in contents(path)]
    with Recording(path) as recording:
        assert recording.damage == ""
        assert recording.end_time_unix_ns == START + 102 * 10**9

    assert times == sorted(times)
