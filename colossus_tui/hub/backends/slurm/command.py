"""Slurm's own commands, run as processes; what goes wrong is told in Slurm's own words."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from colossus_tui.hub.backends.base import ActionFailedError
from colossus_tui.model import ActionState, ReasonCode

TIMEOUT_SECONDS = 20.0
OUTPUT_LIMIT = 256 * 1024 * 1024
_DENIED = re.compile(r"permission denied|not permitted|access denied|not authorized", re.I)
_AWAY = re.compile(r"unable to contact|connection refused|timed out|connect failure|no route", re.I)
_PREFIX = re.compile(r"^(?:slurm_\w+ error|scontrol|squeue|sinfo|scancel|\S*slurm\S*): ?(error: )?")


class SlurmError(Exception):
    """A command failed; the message is Slurm's.

    Attributes:
        denied: Whether Slurm refused it to this user.
        away: Whether nothing answered.
    """

    def __init__(self, text: str, *, denied: bool = False, away: bool = False) -> None:
        super().__init__(text)
        self.denied = denied
        self.away = away


def failed(error: SlurmError) -> ActionFailedError:
    """Return what a failed command means to an action."""
    if error.denied:
        return ActionFailedError(ReasonCode.BACKEND_DENIED, f"Slurm: {error}")
    if error.away:
        return ActionFailedError(
            ReasonCode.UNREACHABLE, f"Slurm does not answer: {error}", ActionState.UNCONFIRMED
        )
    return ActionFailedError(ReasonCode.BACKEND_FAILED, f"Slurm: {error}")


class SlurmCommands:
    """Runs squeue, sinfo, scontrol and scancel.

    Args:
        conf: Value of SLURM_CONF; None for Slurm's own default.
        folder: Where the commands are; None for the PATH.
    """

    def __init__(self, conf: Path | None = None, folder: Path | None = None) -> None:
        self._environment = dict(os.environ) | ({"SLURM_CONF": str(conf)} if conf else {})
        self._folder = folder

    async def jobs(self) -> Mapping[str, Any]:
        """Return what `squeue --json` says.

        Raises:
            SlurmError: Slurm did not answer.
        """
        return await self._json("squeue", "--json")

    async def nodes(self) -> Mapping[str, Any]:
        """Return what `sinfo --json` says.

        Raises:
            SlurmError: Slurm did not answer.
        """
        return await self._json("sinfo", "--json")

    async def steps(self) -> dict[str, int]:
        """Return how many steps each job runs now, by its own identity, such as "12" or "12_3".

        Raises:
            SlurmError: Slurm did not answer.
        """
        text = await self.run("squeue", "--steps", "--noheader", "--format=%i")
        counts: dict[str, int] = {}
        for line in text.splitlines():
            job, dot, _ = line.strip().partition(".")
            if dot:
                counts[job] = counts.get(job, 0) + 1
        return counts

    async def show_job(self, job_id: str) -> dict[str, str]:
        """Return the fields of `scontrol show job`; of an array's rest, those of its first record.

        Raises:
            SlurmError: Slurm did not answer, or does not know it.
        """
        text = await self.run("scontrol", "show", "job", "--oneliner", job_id)
        first = text.splitlines()[0] if text.splitlines() else ""
        fields = (word.partition("=") for word in first.split(" "))
        return {name: value for name, _, value in fields}

    async def show_node(self, node_name: str) -> dict[str, str]:
        """Return State and Reason of `scontrol show node`, the latter without who gave it when.

        Raises:
            SlurmError: Slurm did not answer, or does not know it.
        """
        text = await self.run("scontrol", "show", "node", "--oneliner", node_name)
        state = re.search(r" State=(\S+)", text)
        reason = re.search(r" Reason=(.*?)(?: \[[^\[\]]*\])?\s*$", text)
        return {
            "State": state[1] if state else "",
            "Reason": reason[1] if reason else "",
        }

    async def scontrol(self, *arguments: str) -> None:
        """Change something.

        Raises:
            SlurmError: Slurm did not do it.
        """
        await self.run("scontrol", *arguments)

    async def scancel(self, *arguments: str) -> None:
        """Signal or end a job.

        Raises:
            SlurmError: Slurm did not do it.
        """
        await self.run("scancel", *arguments)

    async def _json(self, *argv: str) -> Mapping[str, Any]:
        text = await self.run(*argv)
        try:
            value = json.loads(text)
        except ValueError as error:
            raise SlurmError(f"{argv[0]} --json gave no JSON: {error}") from None
        if not isinstance(value, dict):
            raise SlurmError(f"{argv[0]} --json gave no object")
        if words := _complaint(value.get("errors")):
            raise _error(words)
        return value

    async def run(self, name: str, *arguments: str) -> str:
        """Run a command and return what it printed.

        Raises:
            SlurmError: It failed, or took over TIMEOUT_SECONDS.
        """
        path = str(self._folder / name) if self._folder else name
        try:
            process = await asyncio.create_subprocess_exec(
                path,
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=self._environment,
                limit=OUTPUT_LIMIT,
            )
        except OSError as error:
            raise SlurmError(f"{path}: {error.strerror}", away=True) from None
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                output, errors = await process.communicate()
        except TimeoutError:
            raise SlurmError(
                f"{name} did not answer within {TIMEOUT_SECONDS:g} s", away=True
            ) from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        words = plain(errors.decode("utf-8", "replace"))
        if process.returncode != 0 or _failed_quietly(name, words):
            raise _error(words or f"{name} ended with exit code {process.returncode}")
        return output.decode("utf-8", "replace")


def _error(words: str) -> SlurmError:
    return SlurmError(words, denied=bool(_DENIED.search(words)), away=bool(_AWAY.search(words)))


def _complaint(errors: Any) -> str:
    """Return what a JSON answer says went wrong; squeue ends with 0 also without its controller."""
    if not isinstance(errors, list) or not errors:
        return ""
    first = errors[0] if isinstance(errors[0], dict) else {}
    parts = [first.get("error"), first.get("description")]
    return ": ".join(part for part in parts if isinstance(part, str) and part)[:300] or "an error"


def _failed_quietly(name: str, words: str) -> bool:
    """scancel ends with 0 also where it was denied."""
    return name == "scancel" and bool(_DENIED.search(words))


def plain(errors: str) -> str:
    """Return Slurm's last complaint without the name of the function that made it."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    return _PREFIX.sub("", lines[-1])[:300] if lines else ""
