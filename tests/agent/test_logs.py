"""Readers of what frameworks print, and the tail that feeds them."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colossus_agent.logs.megatron import Megatron
from colossus_agent.logs.printed import LINE_LIMIT, Printed, Reader
from colossus_agent.logs.reader import FILE_LIMIT, READERS, RunLog
from colossus_agent.logs.tail import HEAD_BYTES, KEPT_BYTES, PIECE_BYTES, Tail
from colossus_agent.logs.torchtitan import Torchtitan
from colossus_hook.page import StepRecord
from tests.fakes import framework_logs as logs

TOKENS = logs.BATCH * logs.SEQUENCE


def feed(reader: Reader, *lines: str) -> list[Printed]:
    """Return the progress of all lines."""
    found = []
    for line in lines:
        reader.learn(line)
        if printed := reader.take(line):
            found.append(printed)
    return found


def read_all(log: RunLog) -> list[StepRecord]:
    """Read until nothing is new."""
    found: list[StepRecord] = []
    while steps := log.read():
        found += steps
    return found


# --- Megatron-LM ---------------------------------------------------------------------------


def test_megatrons_line_gives_step_loss_norm_and_seconds_and_tokens_from_the_second_on() -> None:
    first, second = feed(
        Megatron(), *logs.megatron_arguments(), logs.megatron(10), logs.megatron(20)
    )

    assert (first.step, first.tokens) == (10, -1)
    assert (second.step, second.tokens) == (20, 10 * TOKENS)
    assert second.loss == pytest.approx(logs.loss(20), rel=1e-6)
    assert second.grad_norm == 3.874
    assert second.step_seconds == pytest.approx(0.8207)


def test_tokens_are_not_available_where_the_sequence_length_was_not_printed() -> None:
    _, second = feed(Megatron(), logs.megatron(10), logs.megatron(20))

    assert second.tokens == -1


def test_other_lengths_of_the_arguments_are_not_taken_for_the_sequences() -> None:
    reader = Megatron()
    feed(reader, "  decoder_seq_length .............................. 128")

    assert feed(reader, logs.megatron(1), logs.megatron(2))[1].tokens == -1


@pytest.mark.parametrize(
    ("form", "seconds", "norm"),
    [(logs.megatron_2021, 0.43, 2.918), (logs.megatron_2019, 0.5123, math.nan)],
)
def test_older_releases_of_megatron_are_read(form: object, seconds: float, norm: float) -> None:
    assert callable(form)
    (printed,) = feed(Megatron(), form(200))

    assert printed.step == 200
    assert printed.step_seconds == pytest.approx(seconds)
    assert printed.loss == pytest.approx(logs.loss(200), rel=1e-6)
    assert printed.grad_norm == pytest.approx(norm, nan_ok=True)


def test_a_batch_that_grows_is_counted_by_its_samples() -> None:
    lines = [logs.megatron(10), logs.megatron(20).replace(f"{20 * logs.BATCH}", "1160")]

    _, second = feed(Megatron(), *logs.megatron_arguments(), *lines)

    assert second.tokens == (1160 - 160) * logs.SEQUENCE


def test_tokens_that_the_line_counts_win_over_samples() -> None:
    lines = [logs.megatron_deepspeed(10), logs.megatron_deepspeed(20)]

    _, second = feed(Megatron(), *logs.megatron_arguments(), *lines)

    assert second.tokens == 10 * TOKENS // 2


def test_iterations_that_were_all_skipped_have_no_loss() -> None:
    line = (
        " [2025-04-13 23:41:12] iteration       10/    1000 | consumed samples:          160 |"
        " elapsed time per iteration (ms): 1147.6 | learning rate: 0.000000E+00 |"
        " global batch size:    16 | loss scale: 8388608.0 | number of skipped iterations:  10 |"
        " number of nan iterations:   0 |"
    )

    (printed,) = feed(Megatron(), line)

    assert (printed.step, math.isnan(printed.loss)) == (10, True)


@pytest.mark.parametrize(
    "line",
    [
        " validation loss at iteration 100 | lm loss value: 7.1E+00 | lm loss PPL: 1.2E+03 |",
        "saving checkpoint at iteration     500 to /checkpoints in torch_dist format",
        " iteration       10/    1000 | nothing that is known: 1 |",
        " iteration 99999999999999999999/1 | elapsed time per iteration (ms): 1.0 |",
    ],
)
def test_other_lines_about_iterations_are_not_progress(line: str) -> None:
    assert feed(Megatron(), line) == []


# --- torchtitan ----------------------------------------------------------------------------


def test_torchtitans_line_is_read_through_its_colours() -> None:
    lines = [
        logs.torchtitan(1, "2025-06-04 08:51:48,074", 375),
        logs.torchtitan(10, "2025-06-04 08:51:58,557"),
    ]

    first, second = feed(Torchtitan(), logs.torchtitan_settings(), *lines)

    assert (first.step, first.tokens) == (1, -1)
    assert (second.step, second.tokens) == (10, 9 * TOKENS)
    assert second.loss == pytest.approx(logs.loss(10), abs=1e-4)
    assert second.grad_norm == 1.25
    assert second.step_seconds == pytest.approx(10.483 / 9)


@pytest.mark.parametrize("mesh", [logs.torchtitan_mesh(), logs.torchtitan_degrees()])
def test_tps_of_one_device_is_scaled_by_the_devices_of_the_mesh(mesh: str) -> None:
    lines = [
        logs.torchtitan(10, "2025-06-04 08:51:58,000"),
        logs.torchtitan(20, "2025-06-04 08:52:08,000", 7000),
    ]

    _, second = feed(Torchtitan(), mesh, *lines)

    assert second.tokens == 7000 * 8 * 10


def test_tps_without_batch_and_mesh_gives_no_tokens() -> None:
    lines = [logs.torchtitan(10, "2025-06-04 08:51:58,000"), logs.torchtitan(20)]

    _, second = feed(Torchtitan(), *lines)

    assert second.tokens == -1


def test_torchtitan_of_2024_is_read() -> None:
    mesh = (
        "[rank0]:2024-04-24 13:15:55,000 - root - INFO - Building 1-D device mesh with ['dp'], [8]"
    )
    lines = [
        logs.torchtitan_2024(10, "2024-04-24 13:16:05,500"),
        logs.torchtitan_2024(20, "2024-04-24 13:16:15,500"),
    ]

    _, second = feed(Torchtitan(), mesh, *lines)

    assert (second.step, second.tokens) == (20, 6912 * 8 * 10)
    assert math.isnan(second.grad_norm)


def test_validation_and_other_steps_are_not_progress() -> None:
    lines = [
        logs.torchtitan(10).replace("step:", "validate step:"),
        "[rank0]:[titan] 2025-06-04 08:51:58,557 - torchft.manager - INFO - [ft_0 - step: 21] x",
    ]

    assert feed(Torchtitan(), *lines) == []


# --- what may stand in a file ----------------------------------------------------------------

words = st.sampled_from(
    [
        *("iteration ", "10/", "    1000", " |", "infinity", "elapsed time per iteration (ms):"),
        *(
            "lm loss",
            "consumed samples:",
            "seq_length ",
            "." * 40,
            "nan",
            "-inf",
            "1E+400",
            "9" * 30,
        ),
        *("step:", "validate ", "loss: ", "memory: ", "tps: ", "\x1b[31m", "global batch size 8, "),
        *(
            "sequence length 9",
            ", total steps 5",
            "Building 1-D device mesh with [",
            "], [",
            "8, 8",
        ),
        *("2025-13-41 25:61:61,999 - ", "\0", " " * 9, "pp=", "|", ",", "5", "\r"),
    ]
)


@given(st.lists(words | st.text(max_size=12), max_size=40).map("".join))
def test_no_line_can_make_a_reader_fail_or_say_what_cannot_be(line: str) -> None:
    for make in READERS:
        for printed in feed(make(), line, line.replace("10", "11")):
            assert 0 <= printed.step < 2**63
            assert -1 <= printed.tokens < 2**53
            assert not any(math.isinf(value) for value in printed[2:])


@pytest.mark.parametrize(
    "word",
    [
        *("iteration ", "iteration 1/", "iteration 1/1 |", "1", " ", "|", ".", "\t", "\x1b["),
        *(
            "seq_length ",
            "seq_length . 1 ",
            "step: ",
            "step: 1",
            "loss: ",
            "memory: 1 ",
            "[",
            "1, ",
        ),
        *("global batch size 1, ", "sequence length 1", "Building 1-D device mesh with ["),
        *("Building device mesh with parallelism: ", "pp=1, ", "2025-01-01 00:00:00,000 - "),
    ],
)
def test_the_longest_line_costs_little_whatever_it_repeats(word: str) -> None:
    for tail in ("", "!"):
        for start in ("", "seq_length . 1", "iteration 1/1 |", "step: 1 loss: 1 memory: 1"):
            line = (start + word * LINE_LIMIT)[: LINE_LIMIT - 1] + tail
            began = time.process_time()
            for make in READERS:
                feed(make(), line)
            assert time.process_time() - began < 0.1  # a regular expression gone wrong takes hours


# --- files -----------------------------------------------------------------------------------


def write(path: Path, *lines: str) -> None:
    """Append lines."""
    with path.open("a") as file:
        file.writelines(f"{line}\n" for line in lines)


def test_a_log_tells_its_framework_steps_and_target_as_they_come(tmp_path: Path) -> None:
    path = tmp_path / "out"
    log = RunLog()
    log.follow([str(path)])
    assert (log.read(), log.source) == ([], "")
    write(path, *logs.megatron_arguments(), "noise", logs.megatron(10))
    assert [record.step for record in log.read()] == [10]
    assert (log.source, log.facts) == ("log (Megatron-LM)", {"target_steps": 1000.0})

    write(path, logs.megatron(20), logs.torchtitan(77), logs.megatron(30))
    (twenty, thirty) = log.read()

    assert (twenty.step, thirty.step, thirty.tokens) == (20, 30, 10 * TOKENS)


def test_lines_read_at_once_are_timed_by_how_long_their_steps_took(tmp_path: Path) -> None:
    path = tmp_path / "out"
    log = RunLog()
    log.follow([str(path)])
    write(path, logs.megatron(10), logs.megatron(20), logs.megatron(30))

    ten, twenty, thirty = log.read()

    assert thirty.unix_ns - twenty.unix_ns == pytest.approx(8.207e9)
    assert twenty.unix_ns - ten.unix_ns == pytest.approx(8.207e9)
    assert path.stat().st_mtime_ns == thirty.unix_ns <= time.time_ns()


def test_a_line_counts_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "out"
    log = RunLog()
    log.follow([str(path)])
    line = logs.torchtitan(10)
    path.write_text(line[:80])
    assert log.read() == []
    write(path, line[80:])

    assert [record.step for record in log.read()] == [10]


def test_a_step_that_all_ranks_print_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "out"
    log = RunLog()
    log.follow([str(path)])
    write(path, *(logs.torchtitan(step) for step in (1, 1, 2, 1, 2, 3, 3, 2)))

    assert [record.step for record in log.read()] == [1, 2, 3]


def test_settings_of_one_rank_serve_the_lines_of_another(tmp_path: Path) -> None:
    log = RunLog()
    log.follow([str(tmp_path / "rank-0"), str(tmp_path / "rank-7")])
    write(tmp_path / "rank-0", *logs.megatron_arguments())
    write(tmp_path / "rank-7", logs.megatron(10), logs.megatron(20))

    assert [record.tokens for record in log.read()] == [-1, 10 * TOKENS]


def test_a_long_log_is_read_from_its_head_for_settings_and_near_its_end_for_steps(
    tmp_path: Path,
) -> None:
    path = tmp_path / "out"
    noise = ["x" * 99] * 100
    with path.open("w") as file:
        file.write("\n".join([*logs.megatron_arguments(), ""]))
        for step in range(1, 401):
            file.write("\n".join([*noise, logs.megatron(step), ""]))
    assert path.stat().st_size > 3 * (HEAD_BYTES + KEPT_BYTES)
    log = RunLog()
    log.follow([str(path)])

    records = read_all(log)

    assert records[-1].step == 400
    assert 300 < records[0].step < 400
    assert records[-1].tokens == TOKENS


def test_a_file_that_is_emptied_or_replaced_is_read_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "out"
    log = RunLog()
    log.follow([str(path)])
    write(path, logs.megatron(10), logs.megatron(20))
    assert len(log.read()) == 2
    os.truncate(path, 0)
    write(path, logs.megatron(30))
    assert [record.step for record in log.read()] == [30]
    write(path, logs.megatron(40))
    path.rename(tmp_path / "out.1")
    write(path, logs.megatron(50))

    assert [record.step for record in log.read()] == [40, 50]


def test_what_an_attempt_before_has_printed_teaches_but_is_no_progress(tmp_path: Path) -> None:
    path = tmp_path / "out"
    write(path, *logs.megatron_arguments(), logs.megatron(500))
    log = RunLog(is_old=True)
    log.follow([str(path)])
    assert (log.read(), log.source) == ([], "")
    write(path, logs.megatron(410), logs.megatron(420))

    assert [(record.step, record.tokens) for record in log.read()] == [
        (410, -1),
        (420, 10 * TOKENS),
    ]


def test_a_piece_is_bounded_and_an_endless_line_is_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"x" * (4 * PIECE_BYTES))
    tail = Tail(str(path))

    sizes = [sum(map(len, tail.read()[1])) for _ in range(5)]

    assert sizes[0] == PIECE_BYTES
    assert sizes[1:] == [0, 0, 0, 0]
    write(path, "", logs.megatron(10))
    assert tail.read()[1][-1].decode() == logs.megatron(10)
    tail.close()


def test_a_flood_is_not_followed_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "out"
    log = RunLog()
    log.follow([str(path)])
    write(path, logs.megatron(1))
    log.read()
    with path.open("a") as file:
        for step in range(2, 12):
            file.write("y\n" * (HEAD_BYTES // 2))
            file.write(f"{logs.megatron(step)}\n")

    calls = 0
    found: list[StepRecord] = []
    while not found or found[-1].step < 11:
        found += log.read()
        calls += 1

    assert calls <= (HEAD_BYTES + KEPT_BYTES) / PIECE_BYTES + 1
    assert found[0].step > 2


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    (tmp_path / "folder").mkdir()
    log = RunLog()
    log.follow([str(fifo), str(tmp_path / "folder"), "/dev/tty", "/dev/zero", str(tmp_path / "no")])

    assert log.read() == []


def test_a_run_with_many_files_holds_few_open(tmp_path: Path) -> None:
    for index in range(3 * FILE_LIMIT):
        write(tmp_path / f"{index}", "hello")
    log = RunLog()
    log.follow(str(tmp_path / f"{index}") for index in range(3 * FILE_LIMIT))
    before = len(os.listdir("/proc/self/fd"))
    log.read()

    assert len(os.listdir("/proc/self/fd")) - before == FILE_LIMIT
    log.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_files_that_are_gone_make_room_for_others(tmp_path: Path) -> None:
    log = RunLog()
    for index in range(FILE_LIMIT):
        write(tmp_path / f"{index}", "hello")
    log.follow(str(tmp_path / f"{index}") for index in range(FILE_LIMIT))
    log.read()
    for index in range(FILE_LIMIT):
        (tmp_path / f"{index}").unlink()
    log.read()
    write(tmp_path / "new", logs.torchtitan(1))
    log.follow([str(tmp_path / "new")])

    assert [record.step for record in log.read()] == [1]
    log.close()


@given(
    st.binary(max_size=300)
    | st.lists(st.sampled_from([b"\n", b"\r", b"\xff", b"step:"])).map(b"".join)
)
def test_no_bytes_can_make_a_log_fail(raw: bytes) -> None:
    path = Path(f"/dev/shm/colossus-test-log-{os.getpid()}")
    path.write_bytes(raw)
    log = RunLog()
    log.follow([str(path)])
    try:
        assert log.read() == []
    finally:
        log.close()
        path.unlink()
