"""Checkpoints on disk: under their name whole or not at all, and found again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from colossus_hook import forget, newest, publish
from tests.support import until


@pytest.fixture(autouse=True)
def _no_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLOSSUS_DURABLE_STEP", raising=False)
    monkeypatch.delenv("COLOSSUS_DURABLE_PATH", raising=False)


def write(path: Path, *sizes: int) -> Path:
    """Make a folder with a file of each size, one of them below another folder."""
    (path / "deep").mkdir(parents=True)
    for number, size in enumerate(sizes):
        name = f"deep/{number}" if number else str(number)
        (path / name).write_bytes(b"x" * size)
    return path


def saves(root: Path, seen: set[int]) -> bool:
    """Return whether more checkpoints have been seen than there are names."""
    for path in root.glob("step-*"):
        with suppress(FileNotFoundError):
            seen.add(path.stat().st_ino)
    return len(seen) > 3


def test_a_folder_gets_its_name_with_all_that_is_in_it(tmp_path: Path) -> None:
    size = publish(write(tmp_path / ".part", 10, 500), tmp_path / "step-3")

    assert size == 510
    assert sorted(path.name for path in (tmp_path / "step-3").rglob("*")) == ["0", "1", "deep"]
    assert [path.name for path in tmp_path.iterdir()] == ["step-3"]


def test_a_file_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    (tmp_path / "step-3.ckpt").write_bytes(b"old")
    (tmp_path / ".part").write_bytes(b"newer")

    assert publish(tmp_path / ".part", tmp_path / "step-3.ckpt") == 5
    assert (tmp_path / "step-3.ckpt").read_bytes() == b"newer"
    assert [path.name for path in tmp_path.iterdir()] == ["step-3.ckpt"]


def test_a_folder_takes_the_place_of_an_older_one_and_of_what_a_crash_left(tmp_path: Path) -> None:
    write(tmp_path / "step-3", 1, 1, 1)
    write(tmp_path / ".step-3.old", 7)

    publish(write(tmp_path / ".part", 2), tmp_path / "step-3")

    assert (tmp_path / "step-3" / "0").stat().st_size == 2
    assert [path.name for path in tmp_path.iterdir()] == ["step-3"]


def test_a_checkpoint_that_never_was_published_leaves_the_older_one(tmp_path: Path) -> None:
    write(tmp_path / "step-3", 1)

    with pytest.raises(FileNotFoundError):
        publish(tmp_path / ".part", tmp_path / "step-3")

    assert newest(tmp_path) == str(tmp_path / "step-3")


def test_forgetting_what_is_not_there_is_no_error(tmp_path: Path) -> None:
    forget(tmp_path / "step-3")

    assert list(tmp_path.iterdir()) == []


def test_the_newest_is_the_highest_step_however_it_is_written(tmp_path: Path) -> None:
    for name in ("step-9", "step-00000010", "step-8.ckpt", ".step-99.part", ".step-98.old"):
        (tmp_path / name).mkdir()
    (tmp_path / "step-97.txt").touch()

    assert newest(tmp_path) == str(tmp_path / "step-00000010")
    assert newest(tmp_path, lambda path: path.endswith("ckpt")) == str(tmp_path / "step-8.ckpt")
    assert newest(tmp_path / "missing") is None


def test_what_the_hub_knows_wins_where_the_folder_is_older(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "step-40").mkdir()
    monkeypatch.setenv("COLOSSUS_DURABLE_STEP", "50")
    monkeypatch.setenv("COLOSSUS_DURABLE_PATH", "/elsewhere/step-50")

    assert newest(tmp_path) == "/elsewhere/step-50"
    (tmp_path / "step-60").mkdir()
    assert newest(tmp_path) == str(tmp_path / "step-60")


def test_whenever_a_saving_rank_is_killed_what_has_a_name_is_whole(tmp_path: Path) -> None:
    script = """
import pathlib, sys
from colossus_hook import publish
root = pathlib.Path(sys.argv[1])
for step in range(1, 10_000):
    part = root / f".step-{step % 3}.part"
    part.mkdir(exist_ok=True)
    for name in "abcdefgh":
        (part / name).write_text(name * 1000)
    publish(part, root / f"step-{step % 3}")
"""
    for _ in range(5):
        seen: set[int] = set()
        saver = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)])
        until(partial(saves, tmp_path, seen), 20, message="saves")
        saver.send_signal(signal.SIGKILL)
        saver.wait()

        for path in tmp_path.glob("step-*"):
            assert sorted(os.listdir(path)) == list("abcdefgh")
            assert all((path / name).stat().st_size == 1000 for name in "abcdefgh")
