"""`colossus doctor`: what works on this machine, what does not, and what to do about it."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from colossus_tui.cli import exit_codes
from colossus_tui.cli.output import as_json, show, table
from colossus_tui.client import Client, ColossusError
from colossus_tui.client.address import configured, resolve
from colossus_tui.paths import PathError, make_private, runtime_dir, state_dir
from colossus_tui.text import safe

OK, WARN, FAIL = "ok", "warn", "fail"
BROKEN = frozenset({"failed", "stuck", "lost", "not_permitted"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    name: str
    verdict: str
    detail: str
    remedy: str = ""


def doctor(arguments: argparse.Namespace) -> int:
    """Print every finding; 0 when none failed, 1 otherwise."""
    findings = [*_here(), *_sensors(), *_hub(arguments.hub)]
    if arguments.json:
        show(as_json(findings=findings))
    else:
        rows = [
            (finding.verdict.upper(), finding.name, safe(finding.detail, 100), finding.remedy)
            for finding in findings
        ]
        show(table(("", "WHAT", "FOUND", "REMEDY"), rows))
    failed = any(finding.verdict == FAIL for finding in findings)
    return exit_codes.OTHER if failed else exit_codes.OBSERVED


def _here() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("python", OK if sys.version_info >= (3, 11) else FAIL, version)
    size = shutil.get_terminal_size((0, 0))
    if size.columns:
        enough = size.columns >= 80 and size.lines >= 24
        yield Finding(
            "terminal",
            OK if enough else WARN,
            f"{size.columns}x{size.lines}, TERM={os.environ.get('TERM', 'not set')}",
            "" if enough else "make it at least 80x24",
        )
    utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    yield Finding(
        "encoding", OK if utf8 else WARN, sys.stdout.encoding or "none",
        "" if utf8 else "set LANG=C.UTF-8, or use --ascii",
    )  # fmt: skip
    for name, folder in (("state folder", state_dir()), ("runtime folder", runtime_dir())):
        try:
            yield Finding(name, OK, str(make_private(folder)))
        except PathError as error:
            yield Finding(name, FAIL, str(error), "see above")


def _sensors() -> Iterator[Finding]:
    """Ask the agent's own check, which reads every sensor."""
    command = [sys.executable, "-m", "colossus_agent", "--check", "--json"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        checks = json.loads(result.stdout)["checks"]
    except subprocess.TimeoutExpired:
        yield Finding("agent", FAIL, "its check did not end within 30 s", "colossus-agent --check")
        return
    except (ValueError, KeyError):
        yield Finding("agent", FAIL, result.stderr[-100:], "reinstall colossus-agent")
        return
    groups: dict[str, list[dict[str, str]]] = {}
    for check in checks:
        if check["what"] in ("state_dir", "hub"):
            continue  # reported below, as this command sees them
        if check["where"] == "node":
            verdict = WARN if check["state"] == "failed" else OK
            yield Finding(check["what"], verdict, check["detail"])
            continue
        groups.setdefault(check["where"], []).append(check)
    for where, found in groups.items():
        yield _sensor_finding(where, found)


def _sensor_finding(where: str, checks: list[dict[str, str]]) -> Finding:
    """Return one line on all sensors of the host or of a GPU."""
    name = f"{where} sensors"
    if [check["what"] for check in checks] == ["NVML"]:
        return Finding(name, OK, checks[0]["detail"], "not an error: no NVIDIA driver here")
    working = sum(check["state"] == "ok" for check in checks)
    absent = [check["what"] for check in checks if check["state"] == "unsupported"]
    broken = [f"{c['what']} {c['state']}" for c in checks if c["state"] in BROKEN]
    detail = f"{working}/{len(checks)} have values"
    if broken:
        return Finding(name, WARN, f"{detail}; {', '.join(broken)}", "colossus-agent --check")
    return Finding(name, OK, f"{detail}; not there: {', '.join(absent)}" if absent else detail)


def _hub(given: str | None) -> Iterator[Finding]:
    wanted = configured(given)
    try:
        with Client(resolve(given), timeout=2.0) as client:
            before = time.time()
            nodes = client.nodes()
            took = time.time() - before
    except ColossusError as error:
        yield Finding(
            "hub", FAIL if wanted else OK, str(error),
            "start it: colossus hub" if wanted else "colossus starts one when it is needed",
        )  # fmt: skip
        return
    yield Finding("hub", OK, f"{resolve(given)} answered in {took * 1000:.0f} ms")
    unlinked = [node.node_name for node in nodes if not node.linked]
    yield Finding(
        "agents",
        WARN if unlinked or not nodes else OK,
        f"{len(nodes) - len(unlinked)}/{len(nodes)} linked",
        f"start colossus-agent on {safe(unlinked[0], 63)}" if unlinked else "",
    )
