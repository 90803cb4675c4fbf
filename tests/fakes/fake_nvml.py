"""Builds the NVML library that stands in for a driver, and makes trouble in it on request."""

from __future__ import annotations

import functools
import os
import subprocess
import tempfile
import time
from array import array
from pathlib import Path

SOURCE = Path(__file__).with_name("nvml") / "fake_nvml.c"
NAME = "libnvidia-ml.so.1"
LOOK_SECONDS = 0.02  # it looks for new control lines each hundredth of a second


def build(folder: Path) -> Path:
    """Build the library into a folder and return the folder, for LD_LIBRARY_PATH."""
    command = ["gcc", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-pthread"]
    subprocess.run([*command, "-o", str(folder / NAME), str(SOURCE)], check=True)
    return folder


@functools.cache
def _built() -> Path:
    return build(Path(tempfile.mkdtemp(prefix="fake-nvml-")))


class FakeNvml:
    """One process's driver: its environment, and what is wrong with it from now on.

    Args:
        folder: Where the control file lies.
        gpu_count: GPUs.
        mig_gpu: A GPU that is divided, or None.
    """

    def __init__(self, folder: Path, gpu_count: int = 8, mig_gpu: int | None = None) -> None:
        self._control = folder / "nvml-control"
        self.environment = {
            **os.environ,
            "LD_LIBRARY_PATH": str(_built()),
            "FAKE_NVML_GPUS": str(gpu_count),
            "FAKE_NVML_CONTROL": str(self._control),
        }
        if mig_gpu is not None:
            self.environment["FAKE_NVML_MIG"] = str(mig_gpu)
        self.have()

    def limits_watts(self, *, default: float = 700.0) -> list[float]:
        """Return the power limit of each GPU, watts, as this driver keeps it."""
        file = self._control.with_name(f"{self._control.name}.limits")
        kept = array("I", file.read_bytes() if file.exists() else b"")
        count = int(self.environment["FAKE_NVML_GPUS"])
        return [mw / 1000 if mw else default for mw in (*kept, *([0] * count))][:count]

    def have(self, *lines: str) -> None:
        """Let exactly these control lines hold; see fake_nvml.c for their words."""
        partial = self._control.with_suffix(".part")
        partial.write_text("".join(f"{line}\n" for line in lines))
        partial.replace(self._control)
        time.sleep(LOOK_SECONDS)
