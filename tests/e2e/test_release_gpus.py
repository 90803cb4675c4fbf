"""A freeze that releases GPU memory, through hub and agent; cuda-checkpoint has no GPU here."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.product import Product, process_state
from tests.fakes.fake_nvml import FakeNvml
from tests.support import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(150)]
PROGRAM = Path(__file__).resolve().parents[1] / "fakes" / "cuda-checkpoint"
GIB = 1024**3


class Site:
    """A product with one run of two ranks that hold a GPU each."""

    def __init__(self, folder: Path, *, allowed: bool = True) -> None:
        self.product, self.driver = Product(folder), FakeNvml(folder)
        self.states = folder / "cuda"
        self.states.mkdir()
        self.product.environment = {
            **self.driver.environment,
            **self.product.environment,
            "FAKE_CUDA": str(self.states),
            "FAKE_CUDA_NVML": str(folder / "nvml-control"),
        }
        if allowed:
            self.product.environment["COLOSSUS_CUDA_CHECKPOINT"] = str(PROGRAM)
        self.product.start_hub()
        self.product.start_agent()
        self.product.train("r", ranks=2)
        self.pids = [rank["pid"] for rank in self.product.ranks("r")]

    def hold(self) -> None:
        """Let each rank have CUDA state and 9 GiB of a GPU."""
        lines = []
        for gpu, pid in enumerate(self.pids):
            state = {"state": "running", "gpu": gpu, "bytes": 9 * GIB}
            (self.states / str(pid)).write_text(json.dumps(state))
            lines.append(f"{gpu} set memory_used {9 * GIB}")
            lines.append(f"{gpu} process {pid} {9 * GIB} compute")
        self.driver.have(*lines)
        until(lambda: self.product.run_of("r").get("gpu_count") == 2, 20, message="two GPUs held")

    def trouble(self, *lines: str) -> None:
        (self.states / "trouble").write_text("".join(f"{line}\n" for line in lines))

    def cuda(self) -> list[str]:
        """Return each rank's CUDA state."""
        return [json.loads((self.states / str(pid)).read_text())["state"] for pid in self.pids]

    def log(self) -> list[str]:
        try:
            return [line.split()[0] for line in (self.states / "log").read_text().splitlines()]
        except FileNotFoundError:
            return []

    def freeze(self, *more: str) -> tuple[int, dict[str, Any]]:
        """Freeze with released GPUs; return the exit code and the action."""
        result = self.product.cli(
            "freeze", "r", "--release-gpus", "--yes", "--json", *more, timeout=120
        )
        assert result.stdout, result.stderr
        return result.returncode, json.loads(result.stdout)["action"]

    def goes_on(self) -> None:
        """Wait for a new step."""
        until(lambda: "T" not in {process_state(pid) for pid in self.pids})
        self.product.wait_step("r", self.product.run_of("r")["step"] + 3)


@pytest.fixture
def site() -> Iterator[Site]:
    with tempfile.TemporaryDirectory(prefix="colossus-") as folder:
        site = Site(Path(folder))
        try:
            yield site
        finally:
            site.product.close()


def test_the_gpus_are_free_while_it_is_frozen_and_its_again_after(site: Site) -> None:
    site.hold()

    code, action = site.freeze()

    assert (code, action["state"]) == (0, "observed"), action
    assert "2/2 GPUs released; thaws by itself after 600 s" in action["detail"]
    assert site.cuda() == ["checkpointed"] * 2
    assert site.log() == ["lock", "lock", "checkpoint", "checkpoint"]
    assert site.product.run_of("r")["state"] == "frozen"
    resumed = site.product.cli("resume", "r", "--yes")
    assert resumed.returncode == 0, resumed.stderr
    assert site.cuda() == ["running"] * 2
    site.goes_on()


@pytest.mark.parametrize("action", ["lock", "checkpoint"])
def test_a_failure_on_one_rank_is_undone_on_all(site: Site, action: str) -> None:
    site.hold()
    site.trouble(f"fail {action} {site.pids[1]}")

    code, ended = site.freeze()

    assert (code, ended["state"]) == (1, "failed"), ended
    assert f"cuda-checkpoint {action} of pid {site.pids[1]}" in ended["detail"]
    assert "OS call failed" in ended["detail"]
    assert site.cuda() == ["running"] * 2
    site.goes_on()


@pytest.mark.waits
def test_a_lock_that_hangs_is_undone_at_its_deadline(site: Site) -> None:
    site.hold()
    site.trouble(f"hang lock {site.pids[0]}")

    code, ended = site.freeze()

    assert (code, ended["state"]) == (1, "failed"), ended
    assert f"lock of pid {site.pids[0]}: not done in 12 s" in ended["detail"]
    assert site.cuda() == ["running"] * 2
    site.goes_on()


@pytest.mark.waits
def test_memory_that_the_devices_still_see_undoes_the_freeze(site: Site) -> None:
    site.hold()
    with subprocess.Popen(
        ["sleep", "300"], env=site.product.environment | {"COLOSSUS_RUN": "r"}
    ) as left:
        state = {"state": "running", "gpu": 0, "bytes": 3 * GIB}
        (site.states / str(left.pid)).write_text(json.dumps(state))

        code, ended = site.freeze()

        left.kill()
    assert (code, ended["state"]) == (3, "unconfirmed"), ended
    assert f"node-1 GPU 0 3.0 GiB by pid {left.pid}" in ended["detail"]
    assert site.cuda() == ["running"] * 2
    site.goes_on()


@pytest.mark.waits
def test_the_fuse_restores_when_the_agent_is_gone(site: Site) -> None:
    site.hold()
    code, action = site.freeze("--fuse", "8")
    assert code == 0, action
    site.product.kill("agent")
    site.product.kill("hub")

    until(lambda: site.cuda() == ["running"] * 2, 30, message="the fuse")

    until(lambda: "T" not in {process_state(pid) for pid in site.pids})


def test_an_agent_that_dies_between_lock_and_checkpoint_is_undone_by_the_next(site: Site) -> None:
    site.hold()
    site.trouble(f"hang checkpoint {site.pids[0]}")
    command = ["freeze", "r", "--release-gpus", "--yes", "--no-wait"]
    assert site.product.cli(*command).returncode in (0, 3)
    until(lambda: site.cuda() == ["locked", "checkpointed"], 20, message="the second rank's")

    site.product.kill("agent")
    site.trouble()
    site.product.start_agent()

    until(lambda: "restore" in site.log() and "unlock" in site.log(), 60, message="the undoing")
    site.product.wait_state("r", "frozen", 60)  # the same action, begun anew by the next agent
    until(
        lambda: site.product.json("actions")["actions"][0]["state"] == "observed",
        30,
        message="the devices to be looked at",
    )
    assert site.cuda() == ["checkpointed"] * 2
    assert site.product.cli("resume", "r", "--yes").returncode == 0
    site.goes_on()


def test_it_is_refused_with_the_reason_where_it_cannot_be(site: Site) -> None:
    result = site.product.cli("freeze", "r", "--release-gpus", "--yes")

    assert result.returncode == 5
    assert "it is not seen to hold a GPU" in result.stderr


def test_without_the_setting_it_is_refused_and_the_setting_named() -> None:
    with tempfile.TemporaryDirectory(prefix="colossus-") as folder:
        site = Site(Path(folder), allowed=False)
        try:
            result = site.product.cli("freeze", "r", "--release-gpus", "--yes")
        finally:
            site.product.close()

    assert result.returncode == 5
    assert "set cuda_checkpoint in the agent's settings" in result.stderr
