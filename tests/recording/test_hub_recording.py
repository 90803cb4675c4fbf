"""The hub's own recording, through real processes: exported, after a kill, on a full disk."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast

import grpc
import pytest

from colossus_protos.v1 import common_pb2, console_pb2
from colossus_tui.client import Client, ColossusError
from colossus_tui.hub.recording.rolling import OwnServices
from colossus_tui.recording import Recording, RecordingError
from colossus_tui.replay.player import Player
from tests.e2e.product import BIN, Product
from tests.fakes.fake_agent import FakeAgent, frame, local_run
from tests.support import until
from tests.terminal import Terminal

VIEW = console_pb2.WatchViewResponse
HOSTILE = "\x1b[2J\x1b]0;owned\x07[bold red]boo[/]\u202e"


@pytest.fixture
def agent(hub: Product) -> Iterator[FakeAgent]:
    """A node with two GPUs and the run "10t"."""
    with FakeAgent(hub.address) as agent:
        agent.greet()
        agent.report(local_run("10t", command=f"python train.py {HOSTILE}"))
        agent.steps("10t", [1, 2, 3])
        agent.send(frame=frame([(40, 300), (41, 310)], (0.5, float(1 << 30))))
        until(lambda: hub.run_of("10t").get("step") == 3)
        yield agent


def segments(hub: Product) -> list[Path]:
    return sorted((hub.folder / "state" / "hub" / "recording").glob("*.clrec"))


def step_at_the_end(path: Path, run_id: str = "10t") -> int:
    """Return the run's step at the last instant of a recording; -1 where it is not in it."""
    try:
        with Recording(path) as recording:
            player = Player(recording, clock=lambda: 0.0)
            player.seek(recording.end_time_unix_ns)
            found = player.answer("runs", VIEW)
    except RecordingError:
        return -1
    return next((run.step for run in (found.runs if found else ()) if run.run_id == run_id), -1)


def exported(hub: Product, name: str = "out.clrec", *arguments: str) -> Path:
    path = hub.folder / name
    path.unlink(missing_ok=True)
    result = hub.cli("record", *(arguments or ("--last", "15m")), "-o", str(path))
    assert result.returncode == 0, result.stderr
    return path


def test_the_last_minutes_come_as_one_whole_file(hub: Product, agent: FakeAgent) -> None:
    path = until(lambda: _with_step(hub, 3), 20)
    assert path is not None
    with Recording(path) as recording:
        recording.verify()
        assert recording.damage == ""
        player = Player(recording, clock=lambda: 0.0)
        player.seek(recording.end_time_unix_ns)
        detail, node = player.answer("run/10t", VIEW), player.answer("node/node-1", VIEW)

        assert detail is not None
        assert node is not None
        assert [rank.rank for rank in detail.run.ranks] == [0]
        assert len(node.node.gpus) == 2
        assert player.answer("nodes", VIEW) is not None
        assert player.answer("map///power/", VIEW) is not None


def _with_step(hub: Product, step: int) -> Path | None:
    """Return an export once it has the run and its node in full."""
    path = exported(hub)
    with Recording(path) as recording:
        player = Player(recording, clock=lambda: 0.0)
        player.seek(recording.end_time_unix_ns)
        known = all(player.answer(s, VIEW) for s in ("run/10t", "node/node-1", "map///power/"))
    return path if known and step_at_the_end(path) == step else None


def test_a_killed_hub_leaves_what_it_had_written(hub: Product, agent: FakeAgent) -> None:
    until(lambda: any(step_at_the_end(path) == 3 for path in segments(hub)), 20)
    hub.kill("hub")
    path = segments(hub)[-1]
    with Recording(path) as recording:
        recording.verify()
        assert recording.damage.startswith("cut at ")
        assert "no end was written" in recording.damage

    assert step_at_the_end(path) == 3


def test_a_new_hub_goes_on_where_the_killed_one_ended(hub: Product, agent: FakeAgent) -> None:
    until(lambda: any(step_at_the_end(path) == 3 for path in segments(hub)), 20)
    before = segments(hub)
    hub.kill("hub")
    hub.start_hub()
    until(lambda: len(segments(hub)) > len(before), 20)
    path = exported(hub)
    with Recording(path) as recording, Recording(before[0]) as first:
        assert recording.damage == ""
        assert recording.start_time_unix_ns == first.start_time_unix_ns
        assert recording.end_time_unix_ns > first.end_time_unix_ns


def test_a_viewer_may_have_it_too(hub: Product, agent: FakeAgent, tcp: str) -> None:
    until(lambda: segments(hub))
    path = hub.folder / "viewer.clrec"
    with Client(tcp) as client:
        assert client.export_recording(path, 60.0) == path.stat().st_size


def test_a_console_records_what_it_may_see_until_it_is_told_to_end(
    hub: Product, agent: FakeAgent, tcp: str
) -> None:
    path = hub.folder / "seen.clrec"
    process = subprocess.Popen(
        [sys.executable, "-m", "colossus_tui", "--hub", tcp, "record", "-o", str(path)],
        env=hub.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: path.exists() and step_at_the_end(path) == 3, 20)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=20)

    assert process.returncode == 0, errors
    assert f"colossus replay {path}" in output
    with Recording(path) as recording:
        assert recording.damage == ""
    assert step_at_the_end(path) == 3


def test_a_recording_goes_on_when_its_hub_is_back(hub: Product, agent: FakeAgent) -> None:
    path = hub.folder / "gap.clrec"
    process = subprocess.Popen(
        [sys.executable, "-m", "colossus_tui", "record", "-o", str(path)],
        env=hub.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: path.exists() and step_at_the_end(path) == 3, 20)
    hub.kill("hub")
    killed = time.time_ns()
    hub.start_hub()

    def went_on() -> bool:
        with Recording(path) as recording:
            return recording.end_time_unix_ns > killed

    until(went_on, 30)
    process.send_signal(signal.SIGTERM)

    assert process.wait(20) == 0
    with Recording(path) as recording:
        assert recording.damage == ""


def test_recording_for_a_time_ends_by_itself(hub: Product, agent: FakeAgent) -> None:
    result = hub.cli("record", "--for", "2s", "-o", str(hub.folder / "two.clrec"), "--json")
    found = json.loads(result.stdout)

    assert result.returncode == 0
    assert found["size_bytes"] == (hub.folder / "two.clrec").stat().st_size
    assert 0 < found["end_time_unix_ns"] - found["start_time_unix_ns"] < 10 * 10**9


def test_a_hub_told_to_record_nothing_says_so(hub: Product) -> None:
    hub.kill("hub")
    for path in segments(hub):
        path.unlink()
    settings = hub.folder / "hub.toml"
    settings.write_text("[recording]\nenabled = false\n")
    hub.start_hub("--config", str(settings))
    result = hub.cli("record", "--last", "1m", "-o", str(hub.folder / "none.clrec"))

    assert result.returncode == 1
    assert "this hub records nothing: recording.enabled is false" in result.stderr
    assert not (hub.folder / "none.clrec").exists()
    assert segments(hub) == []


def test_a_disk_that_takes_nothing_ends_the_recording_and_not_the_hub(hub: Product) -> None:
    hub.kill("hub")
    folder = hub.folder / "state" / "hub" / "recording"
    for path in segments(hub):
        path.unlink()
    folder.rmdir()
    folder.write_text("in the way")  # what even the superuser cannot write into
    hub.start_hub()
    messages = until(
        lambda: [e.message for e in hub.ask(Client.events) if e.kind == "recording.failed"], 20
    )

    assert "nothing is recorded" in messages[0]
    assert hub.ask(Client.site).node_count == 0


def test_old_files_go_and_others_stay(hub: Product) -> None:
    until(lambda: segments(hub))
    hub.kill("hub")
    folder = segments(hub)[0].parent
    old = folder / f"{time.time_ns() - 3_600 * 10**9}.clrec"
    mine = folder / "notes.txt"
    old.write_bytes(b"old")
    os.utime(old, (time.time() - 3_500,) * 2)
    mine.write_text("mine")
    hub.start_hub()
    until(lambda: not old.exists(), 20)

    assert mine.exists()


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ("[recording]\nkeep_minutes = 0\n", "recording.keep_minutes must be a whole number"),
        ("[recording]\nmax_megabytes = 1.5\n", "recording.max_megabytes must be a whole number"),
        ('[recording]\nenabled = "no"\n', "recording.enabled must be true or false"),
        ("[recording]\nkeep = 3\n", "recording.keep is no setting"),
        ("recording = 3\n", "recording: must be a table"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, settings: str, why: str) -> None:
    path = tmp_path / "hub.toml"
    path.write_text(settings)
    result = subprocess.run(
        [sys.executable, "-m", "colossus_tui.hub", "--config", str(path)],
        capture_output=True,
        text=True,
        timeout=30,
        env=os.environ | {"COLOSSUS_STATE_DIR": str(tmp_path)},
    )

    assert result.returncode == 2
    assert why in result.stderr


def test_an_export_of_nonsense_is_refused(hub: Product) -> None:
    with Client(hub.address) as client:
        for seconds in (-1.0, float("nan")):
            with pytest.raises(ColossusError, match="last_seconds"):
                client.export_recording(hub.folder / "no.clrec", seconds)
    assert not (hub.folder / "no.clrec").exists()


def test_what_goes_wrong_is_marked(hub: Product, agent: FakeAgent) -> None:
    until(lambda: any(step_at_the_end(path) == 3 for path in segments(hub)), 20)
    agent.send(
        event=common_pb2.Event(
            severity=common_pb2.SEVERITY_CRITICAL,
            kind="xid",
            message=f"XID 79 {HOSTILE}",
            gpu_index=1,
            time_unix_ns=time.time_ns(),
        )
    )
    until(lambda: any(event.kind == "xid" for event in hub.ask(Client.events)))

    def marked() -> bool:
        with Recording(exported(hub)) as recording:
            mark = Player(recording, clock=lambda: 0.0).next_alert()
            return mark is not None and "XID 79" in mark.detail

    until(marked, 20)


def test_what_is_gone_meanwhile_ends_no_recording(hub: Product, agent: FakeAgent) -> None:
    """A source that has no answer is asked on for everything else."""

    class Gone:
        async def WatchView(self, request: object, context: Any) -> AsyncIterator[object]:
            await context.abort(grpc.StatusCode.NOT_FOUND, "gone")
            yield request

        async def GetIncident(self, request: object, context: Any) -> object:
            await context.abort(grpc.StatusCode.NOT_FOUND, "gone")
            return request

    source: Any = OwnServices(cast("Any", Gone()), cast("Any", object()))

    assert asyncio.run(source.view(console_pb2.WatchViewRequest())) is None
    assert asyncio.run(source.call("GetIncident", console_pb2.GetIncidentRequest())) is None


def test_a_key_of_the_console_records_until_it_is_pressed_again(
    hub: Product, agent: FakeAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for last in ("K", "q"):
        with Terminal([str(BIN / "colossus")], hub.environment, 120, 30) as terminal:
            terminal.until("10t", "running")
            terminal.press("K")
            terminal.until("recording", "the same key ends it")
            path = until(lambda: next(iter(Path.cwd().glob("*.clrec")), None), 20)
            assert path is not None

            def known(path: Path = path) -> bool:
                terminal.read(0.01)
                return step_at_the_end(path) == 3

            until(known, 20)
            terminal.press(last)
            if last == "K":
                terminal.until("recorded", "colossus replay")
                terminal.press("q")
            assert terminal.wait() == 0
        with Recording(path) as recording:
            assert recording.damage == ""
        path.unlink()
