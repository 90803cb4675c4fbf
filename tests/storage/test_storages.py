"""Journal, events and runs over both storages: the same tests, the same answers."""

from __future__ import annotations

import asyncio
import math
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from colossus_tui.hub import journal as journals
from colossus_tui.hub.database import Database, DatabaseAwayError, DatabaseError
from colossus_tui.hub.events import Events
from colossus_tui.hub.journal import Journal
from colossus_tui.hub.runs.disk import CURVE_TURNS, RunDisk
from colossus_tui.hub.runs.history import StepPoint
from colossus_tui.hub.runs.live import LiveRun
from colossus_tui.hub.storage import postgres
from colossus_tui.hub.storage.postgres import PostgresStorage
from colossus_tui.model import Action, ActionState, Event, Verb
from tests.storage.cluster import Cluster
from tests.support import until

Open = Callable[[], Database]
FIRST_VERSION = """
create table actions (
    action_id text primary key, run_id text not null, requested_ns integer not null,
    ended integer not null, body blob not null
);
create index actions_by_run on actions (run_id, requested_ns);
create table events (
    event_id integer primary key, time_ns integer not null, body blob not null
);
create table runs (run_id text primary key, body text not null);
create table steps (
    run_id text not null, step integer not null, time_ns integer not null, loss real,
    grad_norm real, step_seconds real, tokens integer not null,
    primary key (run_id, step)
) without rowid;
insert into actions values ('action-1', 'r', 5, 1, x'');
insert into runs values ('r', '{}');
insert into events values (7, 7, x'0807');
insert into steps values ('r', 3, 5, 1.5, null, null, 10);
pragma user_version = 1;
"""


@pytest.fixture(params=["sqlite", "postgres"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens the database, and closes it before it opens it again."""
    address = request.getfixturevalue("shared") if request.param == "postgres" else ""
    opened: list[Database] = []

    def reopen() -> Database:
        for database in opened:
            database.close()
        opened.clear()
        storage = PostgresStorage(address, "hub-a") if address else tmp_path / "hub.sqlite3"
        opened.append(Database(storage))
        return opened[0]

    yield reopen
    for database in opened:
        database.close()


def action(name: str, state: ActionState = ActionState.ACCEPTED, second: int = 1) -> Action:
    """Return an action of which nothing but this is known."""
    return Action(name, Verb.PAUSE, "r", state, requested_time_unix_ns=second * 10**9)


async def test_the_journal_is_read_back(reopen: Open) -> None:
    journal = Journal(reopen())
    await journal.write(action("action-1"))
    await journal.write(action("action-2", second=2))
    await journal.write(replace(action("action-1"), state=ActionState.DISPATCHED))
    await journal.write(replace(action("action-2", second=2), state=ActionState.OBSERVED))

    journal = Journal(reopen())

    assert [one.action_id for one in journal.recent(10)] == ["action-2", "action-1"]
    assert [one.action_id for one in journal.recent(10, open_only=True)] == ["action-1"]
    assert [one.action_id for one in journal.recent(10, prefix="action-1")] == ["action-1"]
    found = journal.get("action-1")
    assert found is not None
    assert found.state is ActionState.DISPATCHED
    assert journal.get("no\0thing") is None


async def test_what_is_on_disk_alone_is_found_by_run_and_by_site(
    reopen: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "KEPT_IN_MEMORY", 1)
    journal = Journal(reopen())
    ends = [action(f"action-{number}", ActionState.OBSERVED, number) for number in range(1, 5)]
    shed = replace(ends[0], action_id="shed", verb=Verb.SHED, run_id="")
    for one in (shed, *ends):
        await journal.write(one)

    assert [one.action_id for one in journal.recent(10)] == ["action-4"]
    assert [one.action_id for one in journal.since(ends[1])] == ["action-4", "action-3"]
    assert journal.on_site() == [shed]


async def test_events_keep_their_numbers(reopen: Open) -> None:
    events = Events(reopen())
    for number in range(3):
        events.add(Event(kind="test", message=f"event {number} \0 of \N{SNOWMAN}"))
    await events.flush()
    told = events.recent(10)

    events = Events(reopen())
    events.add(Event(kind="test", message="later"))

    assert events.recent(10)[1:] == told
    assert events.recent(1)[0].event_id > told[0].event_id
    assert len({event.event_id for event in events.recent(10)}) == 4
    await events.expire()
    assert len(Events(reopen()).recent(10)) == 3


async def test_runs_and_their_steps_are_read_back(reopen: Open) -> None:
    disk = RunDisk(reopen())
    run = LiveRun("r", label='"quoted" \0 text', tokens=2**40)
    for step in (1, 2, 3):
        run.history.add(StepPoint(step, step * 10**9, 1.5, math.nan, 0.5, 7))
    await disk.write([run])
    run.tokens += 1
    await disk.write_state(run)

    read = RunDisk(reopen()).read(0.0)["r"]

    assert (read.label, read.tokens) == (run.label, 2**40 + 1)
    losses, norms = (read.history.series(name, 0, 0) for name in ("loss", "grad_norm"))
    assert losses.steps == (1, 2, 3)
    assert losses.values == (1.5, 1.5, 1.5)
    assert not norms.values


async def test_curves_are_read_back_and_a_damaged_one_costs_no_run(reopen: Open) -> None:
    database = reopen()
    disk = RunDisk(database)
    runs = [LiveRun("r"), LiveRun("s")]
    for run in runs:
        for step in range(1, 1_000):
            run.take_step(StepPoint(step, step * 10**9, 1.5, math.nan, 0.5, 7), 0.0)
    await disk.write(runs, all_curves=True)
    assert all(run.curve.is_kept for run in runs)
    damaged = "update curves set body = ? where run_id = ?"
    await database.write(damaged, [('{"parts": 7}', "s")])

    read = RunDisk(reopen()).read(0.0)

    assert set(read) == {"r", "s"}
    assert read["r"].curve.shown("r") == runs[0].curve.shown("r")
    assert read["s"].curve.shown("s").tokens == ()


async def test_each_curve_is_written_in_its_turn(reopen: Open) -> None:
    disk = RunDisk(reopen())
    runs = [LiveRun(f"r{number}") for number in range(CURVE_TURNS + 3)]
    for run in runs:
        run.take_step(StepPoint(1, 10**9, 1.5, math.nan, 0.5, 7), 0.0)
    await disk.write(runs)
    written = [run.run_id for run in runs if run.curve.is_kept]
    for _ in range(CURVE_TURNS - 1):
        await disk.write(runs)

    assert written == ["r0", f"r{CURVE_TURNS}"]
    assert all(run.curve.is_kept for run in runs)


async def test_a_row_that_cannot_be_written_costs_no_other(reopen: Open) -> None:
    disk = RunDisk(reopen())
    run = LiveRun("r")
    for step, tokens in ((1, 7), (2, 2**64), (3, 9)):
        run.history.add(StepPoint(step, step * 10**9, 1.5, math.nan, 0.5, tokens))

    await disk.write([run])

    read = RunDisk(reopen()).read(0.0)["r"]
    assert read.history.series("loss", 0, 0).steps == (1, 3)


async def test_a_disk_that_is_full_for_a_while_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "hub.sqlite3"
    database = Database(path)
    told: list[Event] = []
    watch = asyncio.create_task(database.run(told.append))
    disk, run = RunDisk(database), LiveRun("r")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, hard))  # no file may grow beyond that
        for step in range(100):
            run.history.add(StepPoint(step, step * 10**9, 1.5, math.nan, 0.5, 7))
        await disk.write([run])
        assert database.away
        with pytest.raises(DatabaseAwayError):
            await Journal(database).write(action("action-1"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    back = partial(until, lambda: not database.is_behind and len(told) == 2, 20)
    await asyncio.to_thread(back, message="the disk to take it")
    await disk.write_state(run)
    watch.cancel()
    database.close()

    assert [event.kind for event in told] == ["database.away", "database.back"]
    again = Database(path)
    assert len(RunDisk(again).read(0.0)["r"].history.series("loss", 0, 0).steps) == 100
    again.close()


async def test_two_hubs_keep_apart_what_is_theirs(shared: str) -> None:
    first, second = (Database(PostgresStorage(shared, name)) for name in ("hub-a", "hub-b"))
    try:
        await Journal(first).write(action("action-1"))
        await RunDisk(first).write([LiveRun("r", label="of a")])
        await RunDisk(second).write([LiveRun("r", label="of b")])
        events = Events(first)
        events.add(Event(kind="test", message="something"))
        await events.flush()

        assert Journal(second).recent(10) == []
        assert Journal(second).get("action-1") is None
        assert RunDisk(second).read(0.0)["r"].label == "of b"
        assert Events(second).recent(10)[0].message == "hub-a: something"
    finally:
        first.close()
        second.close()


def test_two_hubs_of_one_name_are_refused(shared: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "LOCK_SECONDS", 0.2)
    database = Database(PostgresStorage(shared, "hub-a"))
    with pytest.raises(DatabaseError, match="a hub named 'hub-a' uses it already"):
        Database(PostgresStorage(shared, "hub-a"))
    database.close()

    Database(PostgresStorage(shared, "hub-a")).close()


def test_a_newer_schema_is_refused(cluster: Cluster, shared: str) -> None:
    Database(PostgresStorage(shared, "hub-a")).close()
    cluster.query("update colossus.schema_version set version = 99", shared)

    with pytest.raises(DatabaseError, match="written by a newer hub"):
        Database(PostgresStorage(shared, "hub-a"))


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://ada:s3cr3t@127.0.0.1:1/db",
        "postgresql://ada:s3cr3t@127.0.0.1:1/db?nonsense=1",
        "postgresql://ada@127.0.0.1:1/db?password=s3cr3t",
        "postgresql://ada:s3cr3t@[127.0.0.1:1/db",
    ],
)
def test_no_password_is_told(address: str) -> None:
    with pytest.raises(DatabaseError) as caught:
        Database(PostgresStorage(address, "hub-a"))

    assert "s3cr3t" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_file_of_the_first_version_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "hub.sqlite3"
    with sqlite3.connect(path) as connection:
        connection.executescript(FIRST_VERSION)
    connection.close()

    database = Database(path)
    try:
        assert [event.event_id for event in Events(database).recent(10)] == [7]
        assert database.fetch_now("select action_id, ended, hub from actions") == [
            ("action-1", 1, "")
        ]
        assert database.fetch_now("select * from steps") == [("r", 3, "", 5, 1.5, None, None, 10)]
        assert database.fetch_now("pragma user_version") == [(2,)]
        assert database.fetch_now("pragma integrity_check") == [("ok",)]
    finally:
        database.close()


def test_the_client_library_is_loaded_only_where_it_is_used() -> None:
    script = "import sys, colossus_tui.hub.app; print('psycopg' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True
    )

    assert result.stdout.strip() == "False"
