"""The hub's settings of one Slurm, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from colossus_tui.model import PriorityClass

NAMES = ("conf", "commands", "partitions", "job_seconds", "node_seconds", "classes")
# A job's nice is taken from its priority; anybody may lower his own job's.
DEFAULT_NICE = MappingProxyType(
    {
        PriorityClass.P0: 0,
        PriorityClass.P1: 1_000,
        PriorityClass.P2: 2_000,
        PriorityClass.P3: 5_000,
        PriorityClass.P4: 10_000,
    }
)
NICE_LIMIT = 2_147_483_645  # Slurm's own


class SlurmConfigError(ValueError):
    """A setting is wrong; the message names it and the remedy."""


@dataclass(frozen=True, slots=True)
class SlurmConfig:
    """Checked settings.

    Attributes:
        conf: slurm.conf; None for Slurm's own default.
        commands: Folder of squeue and the others; None for the PATH.
        partitions: Only jobs of these are runs; empty for all.
        job_seconds, node_seconds: Time between two questions.
        quality: Quality of service that stands for a class, where the site names one.
        nice: Nice value that a waiting job of each class gets.
    """

    conf: Path | None = None
    commands: Path | None = None
    partitions: frozenset[str] = frozenset()
    job_seconds: float = 5.0
    node_seconds: float = 30.0
    quality: Mapping[PriorityClass, str] = field(default_factory=dict)
    nice: Mapping[PriorityClass, int] = field(default_factory=lambda: DEFAULT_NICE)

    @property
    def class_of_quality(self) -> Mapping[str, PriorityClass]:
        """Class that each named quality of service stands for."""
        return {name: priority_class for priority_class, name in self.quality.items()}


def parse(table: Any) -> SlurmConfig:
    """Return the settings of a [slurm] table.

    Raises:
        SlurmConfigError: One of them is wrong.
    """
    if not isinstance(table, dict):
        raise SlurmConfigError("slurm must be a table, as in [slurm]")
    unknown = sorted(set(table) - set(NAMES))
    if unknown:
        raise SlurmConfigError(f"slurm.{unknown[0]} is no setting; known: {', '.join(NAMES)}")
    quality, nice = _classes(table.get("classes", {}))
    return SlurmConfig(
        conf=_path(table, "conf", is_folder=False),
        commands=_path(table, "commands", is_folder=True),
        partitions=frozenset(_texts(table, "partitions")),
        job_seconds=_seconds(table, "job_seconds", 5.0),
        node_seconds=_seconds(table, "node_seconds", 30.0),
        quality=quality,
        nice=DEFAULT_NICE | nice,
    )


def _path(table: dict[str, Any], name: str, *, is_folder: bool) -> Path | None:
    value = table.get(name)
    if value is None:
        return None
    path = Path(value) if isinstance(value, str) else None
    if path is None or not (path.is_dir() if is_folder else path.is_file()):
        kind = "folder" if is_folder else "file"
        raise SlurmConfigError(f"slurm.{name} {value!r}: there is no such {kind}")
    return path


def _texts(table: dict[str, Any], name: str) -> list[str]:
    value = table.get(name, [])
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise SlurmConfigError(f'slurm.{name} must be a list of texts, as in ["gpu"]')
    return value


def _seconds(table: dict[str, Any], name: str, default: float) -> float:
    value = table.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= 3600:
        raise SlurmConfigError(f"slurm.{name} must be 1 to 3600 seconds")
    return float(value)


def _classes(table: Any) -> tuple[dict[PriorityClass, str], dict[PriorityClass, int]]:
    if not isinstance(table, dict):
        raise SlurmConfigError("slurm.classes must be a table, as in [slurm.classes.P0]")
    quality: dict[PriorityClass, str] = {}
    nice: dict[PriorityClass, int] = {}
    for name, settings in table.items():
        where = f"slurm.classes.{name}"
        if name not in list(PriorityClass):
            raise SlurmConfigError(f"{where}: the classes are P0 to P4")
        if not isinstance(settings, dict) or set(settings) - {"qos", "nice"}:
            raise SlurmConfigError(f"{where} may have qos and nice, nothing else")
        if "qos" in settings:
            if not isinstance(settings["qos"], str) or not settings["qos"]:
                raise SlurmConfigError(f"{where}.qos must be the name of a quality of service")
            quality[PriorityClass(name)] = settings["qos"]
        value = settings.get("nice", 0)
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) > NICE_LIMIT:
            raise SlurmConfigError(f"{where}.nice must be a whole number")
        if "nice" in settings:
            nice[PriorityClass(name)] = value
    return quality, nice
