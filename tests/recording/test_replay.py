"""`colossus replay`: the console in a real terminal, the command line and the client on it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from google.protobuf import message_factory

from colossus_protos.v1 import action_pb2, console_pb2
from colossus_tui.cli.replay import instant
from colossus_tui.client import AsyncClient, Client, ColossusError, NotFoundError
from colossus_tui.model import ActionState, MapRequest, PlaceKind
from colossus_tui.recording import FileSink, Recording, Writer
from colossus_tui.tui.feed import Feed
from tests import forks
from tests.e2e.product import BIN
from tests.recording.made import SECOND, START, detail, events, recorded, runs, site_map
from tests.support import until
from tests.terminal import Terminal

ANSWERS = (
    grpc.StatusCode.OK,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.INVALID_ARGUMENT,
)
HOSTILE = "\x1b[2J\x1b]0;owned\x07[bold red]boo[/]\u202e\u200b"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded(tmp_path_factory.mktemp("replay") / "night.clrec")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "TZ": "UTC", "HOME": str(tmp_path)}


@pytest.fixture
def served(file: Path, environment: dict[str, str]) -> Iterator[str]:
    """The recording as a hub, at its start, standing still."""
    with tempfile.TemporaryDirectory(prefix="colossus-") as folder:
        address = f"unix:{folder}/replay.sock"
        process = subprocess.Popen(
            [sys.executable, "-m", "colossus_tui", "replay", str(file), "--listen", address],
            env=environment,
            stderr=subprocess.DEVNULL,
        )
        try:
            until(lambda: Path(address.removeprefix("unix:")).is_socket(), 20)
            with Client(address) as client:
                client.set_pace(paused=True)
                client.seek(START)
            yield address
        finally:
            process.terminate()
            assert process.wait(10) == 0
        assert not Path(address.removeprefix("unix:")).exists()


def cli(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return forks.run(("colossus_tui", *arguments), environment, 50)


def console(environment: dict[str, str], file: Path, *more: str) -> Terminal:
    return Terminal([str(BIN / "colossus"), "replay", str(file), *more], environment)


# --- the console -------------------------------------------------------------------------------


def test_the_console_is_whole_on_a_recording(file: Path, environment: dict[str, str]) -> None:
    with console(environment, file, "--at", "+60s") as terminal:
        terminal.until("memphis", "10t", "6t", "REPLAY", "viewer", "P play", "of 2m29s")
        terminal.press("P")
        terminal.until("paused")
        terminal.press("\r")
        terminal.until("run 10t", "step          60", "node-1, node-2")
        terminal.press("m")
        terminal.until("map: site", "cannot filter GPUs")
        terminal.press("\x1b")
        terminal.until("run 10t")
        terminal.press("a")
        terminal.until("actions", "no action was asked for yet")
        terminal.press("q")

        assert terminal.wait() == 0


def test_the_keys_move_it(file: Path, environment: dict[str, str]) -> None:
    with console(environment, file) as terminal:
        terminal.until("10t", "REPLAY")
        terminal.press("P")
        terminal.until("paused")
        for key, shown in (("}", "of 2m29s"), ("}", "2m0"), ("{", "1m0"), (",", "5"), (".", "1m0")):
            terminal.press(key)
            terminal.until(shown, "paused")
        terminal.press("))(")
        terminal.until("x2 ")
        terminal.press("!")
        terminal.until("rank 3 is slow", "1m10s of 2m29s")
        terminal.press("!!")
        terminal.until("XID 3", "2m00s of 2m29s")
        terminal.press("!")
        terminal.until("nothing more goes wrong")
        terminal.press("p")
        terminal.until("refused: policy", "this is a replay")
        terminal.press("\x1b")
        terminal.until_gone("refused")
        terminal.press("P")
        terminal.until("2m29s of 2m29s", seconds=40)


def test_ages_are_of_the_recordings_time(tmp_path: Path, environment: dict[str, str]) -> None:
    path = tmp_path / "ages.clrec"
    writer = Writer(FileSink(path))
    for second in range(30):
        answer = runs(second, "10t", step=second)
        answer.runs[0].durable_time_unix_ns = START - 100 * SECOND
        writer.put("runs", answer)
    writer.close()
    with console(environment, path, "--at", "+20s") as terminal:
        terminal.until("10t", "REPLAY")
        terminal.press("P")
        terminal.until("paused")
        assert any(f"2m0{second}s" in terminal.text for second in range(10)), terminal.text


@pytest.mark.parametrize("key", list("P!,.{}()"))
def test_a_hub_has_no_such_keys(key: str) -> None:
    from colossus_tui.tui.actions import offered
    from colossus_tui.tui.screens.base import ColossusScreen

    for scope in ("overview", "run", "nodes", "node", "actions", "map", ColossusScreen.scope):
        assert key not in {command.shown for command in offered(scope)}
        assert key in {command.shown for command in offered(scope, replaying=True)}


def test_hostile_names_reach_no_terminal(tmp_path: Path, environment: dict[str, str]) -> None:
    path = tmp_path / "hostile.clrec"
    writer = Writer(FileSink(path))
    for second in range(3):
        answer = runs(second, f"run {HOSTILE}", "10t", alert=f"late {HOSTILE}" if second else "")
        answer.site.site_name = f"site {HOSTILE}"
        writer.put("runs", answer)
        writer.put("events", events(second, second))
        writer.flush()
    writer.close()
    hostile = path.rename(tmp_path / "a\x1b]0;owned\x07.clrec")
    with console(environment, hostile) as terminal:
        terminal.until("10t", "REPLAY")
        terminal.press("P")
        terminal.until("paused")
        terminal.press("{!")
        terminal.until("late")
        assert b"owned\x07" not in terminal.output
        assert b"\x1b[2J\x1b]0;" not in terminal.output


def test_a_damaged_file_plays_up_to_there_and_says_so(
    file: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    content = bytearray(file.read_bytes())
    with Recording(file) as recording:
        content[recording.blocks[9].offset + 3] ^= 0x10
    damaged = tmp_path / "damaged.clrec"
    damaged.write_bytes(content)
    told = cli(environment, "replay", str(damaged), "--info")
    assert told.returncode == 0
    assert "damaged at 08:00:40: a block's checksum is wrong; " in told.stdout
    with console(environment, damaged, "--at", "+30s") as terminal:
        terminal.until("10t", "REPLAY", "damaged at 08:00:40", "of 40 s")


# --- the command line and the client -----------------------------------------------------------


def test_the_command_line_works_on_it(served: str, environment: dict[str, str]) -> None:
    with Client(served) as client:
        client.seek(START + 110 * SECOND)
    for arguments, shown in (
        (("status",), "memphis"),
        (("runs",), "10t"),
        (("show", "10t"), "110"),
        (("events",), "XID 2"),
        (("actions",), "action-1"[:8]),
    ):
        result = cli(environment, "--hub", served, *arguments)
        assert result.returncode == 0, result.stderr
        assert shown in result.stdout


def test_what_was_not_recorded_is_said(served: str) -> None:
    with Client(served) as client:
        with pytest.raises(ColossusError, match="nodes: only on sites of up to 2048"):
            client.nodes()
        with pytest.raises(NotFoundError, match="only on sites of up to 256 nodes"):
            client.node("node-1")
        with pytest.raises(NotFoundError, match="nothing of run other"):
            client.run("other")
        with pytest.raises(ColossusError, match="not recorded"):
            client.find_gpus("temp>85")
        with pytest.raises(ColossusError, match="not recorded"):
            client.places(PlaceKind.RACK)
        with pytest.raises(ColossusError, match="not recorded"):
            client.hub()
        view = next(iter(client.watch(node_name="node-1", nodes=True)))
        assert view.playback is not None
        assert view.playback.missing.startswith("not recorded: nodes")


def test_every_question_of_the_contracts_is_answered(served: str) -> None:
    """One that comes to the contracts later is answered by a view, or refused in words."""
    with grpc.insecure_channel(served) as channel:
        for module, name in ((console_pb2, "Console"), (action_pb2, "Actions")):
            service = module.DESCRIPTOR.services_by_name[name]
            for method in service.methods:
                request = message_factory.GetMessageClass(method.input_type)
                answer = message_factory.GetMessageClass(method.output_type)
                make = channel.unary_stream if method.server_streaming else channel.unary_unary
                call = make(
                    f"/{service.full_name}/{method.name}",
                    request_serializer=request.SerializeToString,
                    response_deserializer=answer.FromString,
                )
                code = grpc.StatusCode.OK
                try:
                    found: Any = call(request(), timeout=10)
                    if method.server_streaming:
                        next(found)
                        found.cancel()
                except grpc.RpcError as error:
                    code = error.code()

                assert code in ANSWERS, method.name


def test_nothing_can_be_done_on_it(served: str) -> None:
    with Client(served) as client:
        preflight = client.preview("pause", "10t")
        action = client.submit("pause", "10t")

        assert not preflight.allowed
        assert "this is a replay" in preflight.refusal_detail
        assert action.state is ActionState.REFUSED
        assert not client.preview_bulk("pause", ["10t", "6t"]).allowed_count


def test_the_map_shows_where_a_run_is(tmp_path: Path, environment: dict[str, str]) -> None:
    from colossus_tui.replay.console import ReplayConsole
    from colossus_tui.replay.player import Player

    path = tmp_path / "map.clrec"
    writer = Writer(FileSink(path))
    writer.put("map///power/", site_map(0, b"1234"))
    overlay = site_map(0, b"1234")
    overlay.map.matching_counts, overlay.map.matching_gpu_count = b"\x08\0\0\0", 8
    writer.put("map///power/run%3D10t", overlay)
    writer.close()
    with Recording(path) as recording:
        replayed = ReplayConsole(Player(recording))
        for where, count, error in (("run=10t", 8, ""), ("temp>85", 0, "cannot filter")):
            request = console_pb2.WatchViewRequest()
            request.map.where = where
            drawn = replayed._view(request).map
            assert drawn.matching_gpu_count == count
            assert error in drawn.where_error
            assert drawn.where == where


@pytest.mark.parametrize(
    ("change", "second"),
    [
        (lambda client: client.seek(START + 33 * SECOND), 33),
        (lambda client: client.seek(1), 0),
        (lambda client: client.seek(START + 10**6 * SECOND), 149),
        (lambda client: client.step(-5), 0),
        (lambda client: client.next_alert(), 40),
    ],
)
def test_the_client_moves_it(served: str, change: Callable[[Client], object], second: int) -> None:
    with Client(served) as client:
        change(client)
        playback = client.playback()
        assert playback is not None
        assert playback.position_time_unix_ns == START + second * SECOND
        assert client.runs()[0].step == second


def test_a_hub_is_no_replay(tmp_path: Path, served: str) -> None:
    with Client(served) as client:
        for speed in (0.0, 1e9):
            with pytest.raises(ColossusError, match="speed"):
                client.set_pace(speed=speed)
        with pytest.raises(ColossusError, match="has no recording"):
            client.export_recording(tmp_path / "none.clrec")
        assert client.site_map(MapRequest()).layout is not None
        assert detail(0, "10t", 0).run.run.run_id == client.run("10t").run.run_id


# --- wrong use ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("replay", "FILE", "--at", "25:00"), "give 14:03, 14:03:22, +90s or end-2m"),
        (("replay", "FILE", "--at", "+1h"), "the recording is from 08:00:00 to 08:02:29"),
        (("replay", "FILE", "--at", "+x"), "is no time"),
        (("replay", "FILE", "--speed", "0"), "no speed from 0.1 to 600"),
        (("replay", "FILE", "--listen", "0.0.0.0:99"), "--listen"),
        (("replay", "FILE", "--listen", "unix:FILE"), "there already"),
        (("replay", "none.clrec"), "No such file"),
        (("replay", "FOLDER"), "directory"),
        (("replay", "TEXT"), "it is no recording of colossus"),
        (("replay", "NEWER"), "its format is version 9"),
        (("replay", "FILE"), "no terminal"),
        (("record", "--last", "soon"), "is no time"),
        (("record", "--last", "1m", "--for", "1m"), "not allowed with"),
    ],
)
def test_wrong_use_is_named(
    file: Path, tmp_path: Path, environment: dict[str, str], arguments: tuple[str, ...], why: str
) -> None:
    from colossus_tui.recording.format import file_head

    (tmp_path / "TEXT").write_text("not a recording, but long enough to be one")
    (tmp_path / "NEWER").write_bytes(file_head(9) + b"x" * 100)
    named = {"FILE": str(file), "FOLDER": str(tmp_path)} | {
        name: str(tmp_path / name) for name in ("TEXT", "NEWER")
    }
    words = [named.get(word, word).replace("unix:FILE", f"unix:{file}") for word in arguments]
    result = cli(environment, *words)

    assert result.returncode == 2, result.stdout
    assert why in result.stderr


@pytest.mark.parametrize(
    ("text", "second"),
    [("08:00", 0), ("8:01", 60), ("08:01:30", 90), ("+0.5m", 30), ("end-29s", 120), ("end-1m", 89)],
)
def test_an_instant_is_named_in_several_ways(
    file: Path, monkeypatch: pytest.MonkeyPatch, text: str, second: int
) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    with Recording(file) as recording:
        assert instant(text, recording) == START + second * SECOND


def test_a_hub_that_is_not_there_leaves_no_file(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    path = tmp_path / "no.clrec"
    result = cli(environment, "--hub", f"unix:{tmp_path}/no.sock", "record", "-o", str(path))

    assert result.returncode == 1
    assert "no hub answers" in result.stderr
    assert not path.exists()


def test_info_tells_what_is_in_it(file: Path, environment: dict[str, str]) -> None:
    found = json.loads(cli(environment, "replay", str(file), "--json").stdout)

    assert found["start_time_unix_ns"] == START
    assert found["end_time_unix_ns"] == START + 149 * SECOND
    assert found["damage"] == ""
    assert found["size_bytes"] == file.stat().st_size


def test_the_verb_of_a_mark_is_a_word() -> None:
    from colossus_tui.recording.marks import Marks

    marks = Marks()
    marks.of("events", events(0), START)
    (mark,) = marks.of("events", events(1, actions=["a"]), START)

    assert mark.detail == "pause 10t by ada"


def test_a_verb_of_a_newer_hub_is_a_mark_too() -> None:
    from colossus_tui.recording.marks import Marks

    marks, answer = Marks(), events(1, actions=["a"])
    marks.of("events", events(0), START)
    answer.actions[0].verb = 99  # type: ignore[assignment]
    (mark,) = marks.of("events", answer, START)

    assert mark.detail == "verb 99 10t by ada"


async def test_its_keys_are_done_in_the_order_in_which_they_were_pressed() -> None:
    done: list[str] = []

    class Moves:
        async def step(self, seconds: float) -> None:
            await asyncio.sleep(0.05)
            done.append("step")

        async def next_alert(self) -> None:
            done.append("alert")

    feed = Feed("nowhere", lambda message: None)
    feed._client = cast(AsyncClient, Moves())
    try:
        await asyncio.gather(feed._replay(lambda client: client.step(-60.0)), feed._next_alert())
    finally:
        feed._loop.close()

    assert done == ["step", "alert"]
