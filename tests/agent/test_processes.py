"""Finding the processes of a run: by environment and by control group, hostile names included."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from colossus_agent.collectors.processes import Processes, visible
from colossus_agent.readings import ProcessSample
from tests.support import until

SLEEP = "import time; print('up', flush=True); time.sleep(60)"


class Started:
    """Processes that a test started; all are ended with it."""

    def __init__(self) -> None:
        self._all: list[subprocess.Popen[bytes]] = []

    def __call__(
        self, code: str = SLEEP, *arguments: bytes, environment: Mapping[str, str] = {}
    ) -> int:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
        )
        self._all.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        return process.pid

    def end(self) -> None:
        """Kill and reap them."""
        for process in self._all:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


@pytest.fixture
def started() -> Iterator[Started]:
    started = Started()
    yield started
    started.end()


def find(pid: int, processes: Processes | None = None) -> ProcessSample | None:
    """Return what is known of a process, or None when it is not taken notice of."""
    samples = (processes or Processes()).read({})
    return next((sample for sample in samples if sample.pid == pid), None)


@pytest.mark.parametrize(
    ("environment", "run_id", "source", "rank"),
    [
        ({"COLOSSUS_RUN": "10t", "RANK": "3"}, "10t", "environment:COLOSSUS_RUN", 3),
        ({"SLURM_JOB_ID": "77", "SLURM_PROCID": "5"}, "slurm-77", "environment:SLURM_JOB_ID", 5),
        ({"COLOSSUS_RUN": "a", "SLURM_JOB_ID": "7"}, "a", "environment:COLOSSUS_RUN", -1),
        (
            {"COLOSSUS_RUN": "a", "COLOSSUS_RANK": "1", "RANK": "9"},
            "a",
            "environment:COLOSSUS_RUN",
            1,
        ),
        ({"COLOSSUS_RUN": "a", "RANK": "99999999999"}, "a", "environment:COLOSSUS_RUN", -1),
        ({"COLOSSUS_RUN": "a", "RANK": "-1"}, "a", "environment:COLOSSUS_RUN", -1),
    ],
)
def test_the_environment_names_run_and_rank(
    started: Started, environment: dict[str, str], run_id: str, source: str, rank: int
) -> None:
    found = find(started(environment=environment))

    assert found is not None
    assert (found.run_id, found.run_source, found.rank) == (run_id, source, rank)
    assert found.resident_bytes > 1_000_000


def test_a_stranger_is_left_alone(started: Started) -> None:
    assert find(started()) is None


def test_processor_use_is_measured_between_two_reads(started: Started) -> None:
    busy = "print('up', flush=True)\nwhile True: pass"
    pid = started(busy, environment={"COLOSSUS_RUN": "r"})
    processes = Processes()
    find(pid, processes)
    time.sleep(1.0)

    found = find(pid, processes)

    assert found is not None
    assert 0.2 < found.cpu_ratio < 1.2


def test_hostile_names_and_commands_are_made_visible_and_bounded(started: Started) -> None:
    hostile = b"\x1b]0;owned\x07[red]boo\r\n\xff\xfe" + b"A" * 10_000
    rename = (
        "import ctypes,sys,time; ctypes.CDLL(None).prctl(15, b'\\x1b[2J\\n)(', 0, 0, 0);"
        "print('up', flush=True); time.sleep(60)"
    )

    found = find(started(rename, hostile, environment={"COLOSSUS_RUN": "evil\x1b[2J"}))

    assert found is not None
    for text in (found.name, found.command, found.run_id):
        assert text.isprintable(), text
    assert len(found.command) <= 1024
    assert found.state in "RS"  # "(" and ")" in the name confuse no field after it


def test_a_process_in_a_slurm_control_group_belongs_to_its_job(tmp_path: Path) -> None:
    folder = tmp_path / "4711"
    folder.mkdir()
    fields = ["S", "1", "1", "1", "0", "-1", "0", "0", "0", "0", "0", "5", "5"]
    fields += ["0", "0", "20", "0", "1", "0", "1000", "0", "100", "0"]
    (folder / "stat").write_text("4711 (py) thon) " + " ".join(fields))
    (folder / "comm").write_text("py) thon\n")
    (folder / "cmdline").write_bytes(b"python\0train.py\0")
    (folder / "environ").write_bytes(b"")
    group = "0::/system.slice/slurmstepd.scope/job_815/step_0/user/task_0\n"
    (folder / "cgroup").write_text(group)

    (found,) = Processes(str(tmp_path)).read({})

    assert (found.run_id, found.run_source) == ("slurm-815", "cgroup")
    assert found.command == "python train.py"


def test_a_process_that_ends_is_forgotten(started: Started) -> None:
    pid = started(environment={"COLOSSUS_RUN": "r"})
    processes = Processes()
    assert find(pid, processes) is not None

    started.end()

    assert find(pid, processes) is None


def test_visible_text_is_bounded_in_any_encoding() -> None:
    assert visible(b"a\x00b\x9b2J", 64).isprintable()
    assert visible("é漢".encode() * 100, 5) == "é漢é漢é"
    assert visible(b"\xff" * 10_000, 64) == "\N{REPLACEMENT CHARACTER}" * 64


def test_a_process_seen_before_it_became_a_rank_is_found_after(
    started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("colossus_agent.collectors.processes.SCAN_SECONDS", 0.0)
    become = (
        "import os, sys, time; print('up', flush=True); time.sleep(1);"
        "os.execve('/bin/sleep', ['sleep', '60'], {'COLOSSUS_RUN': 'late'})"
    )
    processes = Processes()
    pid = started(become)

    assert find(pid, processes) is None
    found = until(lambda: find(pid, processes))
    assert found is not None
    assert (found.run_id, found.name) == ("late", "sleep")
