"""The player: every instant is the same whichever way one came to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from colossus_protos.v1 import console_pb2, recording_pb2
from colossus_tui.recording import FileSink, Recording, Writer
from colossus_tui.recording import format as form
from colossus_tui.recording.format import Kind
from colossus_tui.replay.player import ENTRY_BYTES, Player
from tests.recording.made import SECOND, START, events, recorded, runs

VIEW = console_pb2.WatchViewResponse


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded(tmp_path_factory.mktemp("player") / "a.clrec")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def player(file: Path, clock: Clock) -> Iterator[Player]:
    with Recording(file) as recording:
        yield Player(recording, clock=clock)


def step(player: Player) -> int:
    """Return the step that the first run has."""
    found = player.answer("runs", VIEW)
    assert found is not None
    return found.runs[0].step or 0


def test_it_plays_at_its_speed_and_stops_at_the_end(player: Player, clock: Clock) -> None:
    assert step(player) == 0
    clock.now += 20
    assert step(player) == 20
    player.set_pace(8.0, None)
    clock.now += 10
    assert step(player) == 100
    clock.now += 1_000
    assert step(player) == 149
    assert player.paused


def test_standing_still_nothing_changes(player: Player, clock: Clock) -> None:
    clock.now += 20
    player.set_pace(None, True)
    revision = player.revision
    clock.now += 100

    assert (step(player), player.revision) == (20, revision)


def test_playing_on_at_the_end_begins_anew(player: Player, clock: Clock) -> None:
    clock.now += 10_000
    assert step(player) == 149
    player.set_pace(None, False)

    assert step(player) == 0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(seconds=st.lists(st.integers(0, 149), min_size=1, max_size=12))
def test_an_instant_is_the_same_from_everywhere(file: Path, seconds: list[int]) -> None:
    with Recording(file) as recording:
        player = Player(recording, clock=lambda: 0.0)
        for second in seconds:
            player.seek(START + second * SECOND)
            found = player.answer("events", VIEW)

            assert step(player) == second
            assert found is not None
            assert len(found.events) == second // 40
            assert len(found.actions) == (second >= 100)


def test_what_is_older_says_so(player: Player) -> None:
    player.seek(START + 37 * SECOND)
    found = player.answer("run/10t", VIEW)

    assert found is not None
    assert found.run.run.step == 30
    assert found.run.ranks[0].age_seconds == pytest.approx(8.0)


def test_what_was_never_asked_is_not_there(player: Player) -> None:
    assert player.answer("node/x", VIEW) is None


def test_the_next_alerts_are_found_in_turn(player: Player) -> None:
    found = []
    while (mark := player.next_alert()) is not None:
        found.append(((mark.time_unix_ns - START) / SECOND, mark.detail))
        assert player.playback().mark == mark
        assert player.paused

    assert found == [
        (40.0, "node-1 XID 1"),
        (70.0, "10t rank 3 is slow"),
        (80.0, "node-1 XID 2"),
        (120.0, "node-1 XID 3"),
    ]
    player.step(1.0)
    assert not player.playback().HasField("mark")


def test_the_scrubber_has_alerts_and_actions(player: Player) -> None:
    marks = player.playback().marks
    kinds = [mark.kind for mark in marks]

    assert kinds.count(recording_pb2.MARK_KIND_ALERT) == 4
    assert kinds.count(recording_pb2.MARK_KIND_ACTION) == 1


def test_many_marks_are_few_on_the_scrubber(tmp_path: Path) -> None:
    writer = Writer(FileSink(tmp_path / "many.clrec"))
    for second in range(5_000):
        writer.put("events", events(second, second))
        writer.flush()
    writer.close()
    with Recording(tmp_path / "many.clrec") as recording:
        assert 300 < len(Player(recording).playback().marks) < 402


@pytest.mark.parametrize("block", [1, 5, 13, 14, 20])
@pytest.mark.parametrize("known", [True, False])
def test_it_plays_up_to_a_damage_and_says_where(
    file: Path, tmp_path: Path, block: int, known: bool
) -> None:
    content = bytearray(file.read_bytes())
    with Recording(file) as recording:
        bad = recording.blocks[block]
    content[bad.offset + bad.length // 2] ^= 1
    damaged = tmp_path / "damaged.clrec"
    damaged.write_bytes(content)
    with Recording(damaged) as recording:
        player = Player(recording, clock=lambda: 0.0)
        if known:
            player.cut_at(recording.first_damage())
        for second in [149] if known else range(150):
            player.seek(START + second * SECOND)
            last = step(player)

        assert START + last * SECOND <= bad.first_time_unix_ns
        assert START + last * SECOND >= bad.first_time_unix_ns - 6 * SECOND
        assert player.playback().damage.startswith("damaged at ")
        assert player.position == recording.end_time_unix_ns
        player.seek(START)
        assert step(player) == 0


def test_what_is_gone_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "gone.clrec"
    writer = Writer(FileSink(path))
    for second in range(30):
        writer.put("runs", runs(second, *(["10t", "6t"] if second < 10 else ["6t"]), step=second))
        if second == 0:
            writer.flush()
    writer.close()
    with Recording(path) as recording:
        player = Player(recording, clock=lambda: 0.0)
        for second, count in ((5, 2), (20, 1), (5, 2)):
            player.seek(START + second * SECOND)
            found = player.answer("runs", VIEW)
            assert found is not None
            assert len(found.runs) == count


def test_a_file_that_wants_too_much_memory_ends_there(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("colossus_tui.replay.player.STATE_LIMIT", 300)
    with Recording(file) as recording:
        player = Player(recording, clock=lambda: 0.0)
        player.seek(START + 149 * SECOND)
        player.answer("runs", VIEW)

        assert "more memory than any that is written" in player.playback().damage


def topics(path: Path, *blocks: tuple[Kind, list[str], bool]) -> Path:
    """Write blocks of topics without values, a second each; of each whether they are removed."""
    content = form.file_head()
    for second, (kind, names, removed) in enumerate(blocks):
        at = START + second * SECOND
        changes = [
            recording_pb2.RecordedChange(time_unix_ns=at, topic=name, removed=removed)
            for name in names
        ]
        content += form.block(kind, at, at, changes)
    path.write_bytes(content)
    return path


def test_topics_without_values_take_memory_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("colossus_tui.replay.player.STATE_LIMIT", 10 * (ENTRY_BYTES + 8))
    ten, more = [f"events:{number}" for number in range(10)], ["events:x"]
    path = topics(
        tmp_path / "many.clrec",
        (Kind.KEYFRAME, ten, False),
        (Kind.CHANGES, ten[:5], True),
        (Kind.CHANGES, ten[:5], False),
        (Kind.CHANGES, more, False),
    )
    with Recording(path) as recording:
        player = Player(recording, clock=lambda: 0.0)
        player.seek(START + 2 * SECOND)
        player.answer("events", VIEW)
        assert len(recording.blocks) == 4
        player.seek(START + 3 * SECOND)
        player.answer("events", VIEW)

        assert len(recording.blocks) == 3
        assert "more memory than any that is written" in player.playback().damage


def test_what_is_removed_leaves_nothing_behind(tmp_path: Path) -> None:
    names = [f"run/{number}:run" for number in range(100)]
    path = topics(
        tmp_path / "gone.clrec",
        (Kind.KEYFRAME, names[:1], False),
        (Kind.CHANGES, names, True),
    )
    with Recording(path) as recording:
        player = Player(recording, clock=lambda: 0.0)
        player.seek(START + SECOND)
        player.answer("run/0", VIEW)

        assert (player._state, player._size) == ({}, 0)
