"""Whether cuda-checkpoint may and can be used on a node: each reason why not, with its remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from colossus_agent.control.cuda import CudaCheckpoint

PROGRAM = Path(__file__).resolve().parents[1] / "fakes" / "cuda-checkpoint"


def test_the_program_of_a_new_enough_driver_is_taken() -> None:
    assert CudaCheckpoint(str(PROGRAM), lambda: "570.86.10").refusal() == ""


@pytest.mark.parametrize(
    ("program", "driver", "named"),
    [
        ("", "570.1", "set cuda_checkpoint in the agent's settings"),
        ("/no/such/program", "570.1", "no program that this user can execute"),
        ("/etc/passwd", "570.1", "no program that this user can execute"),
        (str(PROGRAM), "", "there is no NVIDIA driver"),
        (str(PROGRAM), "550.54.15", "the NVIDIA driver is 550.54.15"),
        (str(PROGRAM), "\x1b[31m", "the NVIDIA driver is"),
        ("/bin/true", "570.1", "has no --action"),
    ],
)
def test_each_reason_why_not_is_told(program: str, driver: str, named: str) -> None:
    assert named in CudaCheckpoint(program, lambda: driver).refusal()
