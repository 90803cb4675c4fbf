"""The demo: a model that really learns, ranks that really agree, runs that end with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import psutil
import pytest

from colossus_tui.demo import corpus
from colossus_tui.demo.network import Network
from colossus_tui.demo.ring import PeerLostError, Ranks
from colossus_tui.demo.runs import RUNS
from tests.e2e.product import BIN, Product
from tests.support import until
from tests.terminal import Terminal


def test_the_text_is_real_and_the_same_each_time() -> None:
    first, second = corpus.load(), corpus.load()

    assert (first == second).all()
    assert len(first) == corpus.SIZE_BYTES
    assert "def " in "".join(chr(symbol + 32) for symbol in first[:20_000])
    assert first.max() < corpus.ALPHABET_SIZE


def test_the_gradient_is_that_of_the_loss() -> None:
    rng = np.random.default_rng(0)
    network = Network(context=3, hidden=5, seed=1)
    inputs = rng.integers(0, corpus.ALPHABET_SIZE, (4, 3)).astype(np.uint8)
    targets = rng.integers(0, corpus.ALPHABET_SIZE, 4).astype(np.uint8)
    _, gradient = network.loss_and_gradient(inputs, targets)
    for index in rng.integers(0, network.parameters_count, 40):
        before = network.parameters[index]
        network.parameters[index] = before + 1e-6
        above, _ = network.loss_and_gradient(inputs, targets)
        network.parameters[index] = before - 1e-6
        below, _ = network.loss_and_gradient(inputs, targets)
        network.parameters[index] = before
        assert gradient[index] == pytest.approx((above - below) / 2e-6, abs=1e-6)


def test_it_learns() -> None:
    data = corpus.load()
    network, rng = Network(context=6, hidden=32, seed=1), np.random.default_rng(1)
    losses = []
    for step in range(1, 401):
        starts = rng.integers(0, len(data) - 7, 32)
        windows = data[starts[:, None] + np.arange(7)]
        loss, gradient = network.loss_and_gradient(windows[:, :6], windows[:, 6])
        network.update(gradient, step, 3e-3)
        losses.append(loss)

    assert np.mean(losses[-50:]) < np.mean(losses[:10]) - 1.0


def test_ranks_get_the_same_bits_and_notice_who_has_gone(tmp_path: Path) -> None:
    sums: dict[int, np.ndarray] = {}

    def other(rank: int) -> None:
        ranks = Ranks(tmp_path / "s", rank, 3)
        sums[rank] = ranks.sum(np.full(5, 0.1 * (rank + 1)))
        ranks.close()

    threads = [threading.Thread(target=other, args=(rank,)) for rank in (1, 2)]
    for thread in threads:
        thread.start()
    first = Ranks(tmp_path / "s", 0, 3)
    sums[0] = first.sum(np.full(5, 0.1))
    for thread in threads:
        thread.join()

    assert sums[0].tobytes() == sums[1].tobytes() == sums[2].tobytes()
    with pytest.raises(PeerLostError):
        first.sum(np.zeros(5))
    first.close()


def test_a_loop_trains_without_any_agent(tmp_path: Path) -> None:
    log = tmp_path / "log"
    subprocess.run(
        [
            *(sys.executable, "-m", "colossus_tui.demo.train", "--name", "x"),
            *("--checkpoint-dir", str(tmp_path), "--max-steps", "12"),
            *("--steps-per-second", "1000", "--log-steps", str(log)),
        ],
        check=True,
        timeout=60,
    )
    assert len(log.read_text().splitlines()) == 12


@pytest.mark.timeout(120)
def test_seven_runs_move_and_none_is_left_behind(tmp_path: Path) -> None:
    product = Product(tmp_path)
    product.environment.pop("COLOSSUS_HUB")

    result = product.cli("demo", "--headless", "--for", "12", "--json", timeout=90)

    assert result.returncode == 0, result.stderr
    runs = {run["run_id"]: run for run in json.loads(result.stdout)["runs"]}
    assert set(runs) == {run.name for run in RUNS}
    assert len(runs) == 7
    for run in runs.values():
        assert (run["state"], run["label"]) == ("running", "demo")
        assert run["step"] > 5
        assert 0 < run["loss"] < 6
    assert [run_id for run_id, run in runs.items() if run["rank_count"] == 2] == ["10t"]
    until(lambda: not processes(tmp_path), 15, message="the demo's processes to be gone")


@pytest.mark.timeout(120)
def test_a_demo_that_is_kept_goes_on_and_is_taken_up_again(tmp_path: Path) -> None:
    product = Product(tmp_path)
    product.environment.pop("COLOSSUS_HUB")
    kept = product.cli("demo", "--headless", "--for", "4", "--keep", "--json", timeout=90)
    assert kept.returncode == 0, kept.stderr
    try:
        pids = set(processes(tmp_path))
        assert pids
        again = product.cli("demo", "--headless", "--for", "8", "--json", timeout=90)
        runs = json.loads(again.stdout)["runs"]
        assert {run["attempt"] for run in runs} == {1}
        before = {run["run_id"]: run["step"] or 0 for run in json.loads(kept.stdout)["runs"]}
        assert all((run["step"] or 0) > before[run["run_id"]] for run in runs)
    finally:
        left = processes(tmp_path)
        for pid in left:
            psutil.Process(pid).kill()
    assert not left


@pytest.mark.timeout(60)
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_closed_terminal_leaves_no_run_behind(tmp_path: Path, number: signal.Signals) -> None:
    product = Product(tmp_path)
    product.environment.pop("COLOSSUS_HUB")
    with Terminal([str(BIN / "colossus"), "demo"], product.environment, 120, 30) as terminal:
        terminal.until("10t", "1t-b", "running", seconds=30)
        os.kill(terminal.pid, number)
        assert terminal.wait(25) == 128 + number
        _, given_back, after = terminal.output.partition(b"\x1b[?1049l")
        assert given_back
        assert b"Exception" not in after
    until(lambda: not processes(tmp_path), 15, message="the demo's processes to be gone")


@pytest.mark.timeout(60)
def test_under_nohup_a_hangup_ends_nothing(tmp_path: Path) -> None:
    product = Product(tmp_path)
    product.environment.pop("COLOSSUS_HUB")
    demo = subprocess.Popen(
        ["nohup", str(BIN / "colossus"), "demo", "--headless", "--for", "6", "--json"],
        env=product.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: processes(tmp_path), 20, message="the demo's processes")

    demo.send_signal(signal.SIGHUP)

    output, _ = demo.communicate(timeout=40)
    assert demo.returncode == 0
    assert len(json.loads(output)["runs"]) == 7
    until(lambda: not processes(tmp_path), 15, message="the demo's processes to be gone")


def processes(folder: Path) -> list[int]:
    """Return the processes whose command names the folder."""
    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if str(folder) in " ".join(process.info["cmdline"] or [])
    ]
