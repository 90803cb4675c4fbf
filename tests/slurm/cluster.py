"""A real Slurm on loopback: munged, slurmctld and several slurmd as processes of the test."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

from tests.support import until

RANDOM = random.SystemRandom()  # tests begin with one seed; clusters of all of them meet here
PROGRAMS = ("munged", "slurmctld", "slurmd", "squeue", "scontrol", "sbatch", "srun", "scancel")
JOB_LIMIT = 10_000
CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
ReturnToService=2
SlurmdParameters=config_overrides
SlurmctldTimeout=10
SlurmdTimeout=10
MinJobAge=60
KillWait=2
FirstJobId={first_job}
PriorityType=priority/basic
NodeName={nodes} NodeAddr=127.0.0.1 NodeHostname={host} Port={ports} CPUs={cpus} RealMemory=4000
PartitionName=main Nodes={nodes} Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
"""


class SlurmCluster:
    """One Slurm in a folder of its own; ends all that it started."""

    def __init__(self, folder: Path, node_count: int = 3, cpu_count: int = 4) -> None:
        missing = [name for name in PROGRAMS if _find(name) is None]
        if missing:
            raise RuntimeError(
                f"{', '.join(missing)} missing: as root, "
                "apt-get install slurmctld slurmd slurm-client munge"
            )
        self.folder = folder
        # Of its own names: agents find ranks by their node's, and several clusters share a machine.
        prefix = f"n{RANDOM.randrange(100, 1000)}x"
        self.node_names = [f"{prefix}{index}" for index in range(1, node_count + 1)]
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        folder.chmod(0o755)  # other users' commands read slurm.conf and reach munge's socket
        ports = _free_ports(node_count + 1)
        # Pages of an earlier cluster's jobs must not pass for this one's.
        self._first_job = RANDOM.randrange(1_000, 60_000_000)
        self.conf = folder / "slurm.conf"
        # Names in short form need ports in a row.
        nodes = f"{prefix}[1-{node_count}]"
        self.conf.write_text(
            CONF.format(
                host=socket.gethostname().partition(".")[0],
                port=ports[0],
                folder=folder,
                first_job=self._first_job,
                nodes=nodes,
                cpus=cpu_count,
                ports=f"[{ports[1]}-{ports[-1]}]",
            )
        )
        self.environment = os.environ | {
            "SLURM_CONF": str(self.conf),
            "PATH": f"{os.environ['PATH']}:/usr/sbin",
        }

    def start(self) -> None:
        """Start every daemon and wait until all nodes are idle."""
        (self.folder / "state").mkdir()
        (self.folder / "munge.key").write_bytes(os.urandom(1024))
        (self.folder / "munge.key").chmod(0o600)
        self._start(
            "munged",
            *("munged", "--foreground", "--force", f"--key-file={self.folder}/munge.key"),
            *(f"--socket={self.folder}/munge.sock", f"--pid-file={self.folder}/munged.pid"),
            *(f"--log-file={self.folder}/munged.log", f"--seed-file={self.folder}/munge.seed"),
        )
        until((self.folder / "munge.sock").exists, 10, message="munged")
        self.start_controller()
        for name in self.node_names:
            self._start(name, "slurmd", "-D", "-N", name, "-f", str(self.conf))
        until(lambda: self.idle_nodes() == self.node_names, 30, message="idle nodes")

    def start_controller(self) -> None:
        """Start slurmctld, or start it again."""
        self._start("slurmctld", "slurmctld", "-D", "-f", str(self.conf))

    @property
    def controller_pid(self) -> int:
        """The process of slurmctld."""
        return self._daemons["slurmctld"].pid

    def stop_controller(self, job_id: str) -> None:
        """End slurmctld as a crash would, once it has written down how this job is now."""
        mark = f"mark-{RANDOM.randrange(10**12)}"
        self.check("scontrol", "update", f"JobId={job_id}", f"Comment={mark}")
        saved = self.folder / "state" / "job_state"
        until(lambda: mark.encode() in saved.read_bytes(), 20, message="the saved job")
        process = self._daemons.pop("slurmctld")
        process.kill()
        process.wait()

    def _start(self, name: str, program: str, *arguments: str) -> None:
        path = _find(program)
        assert path is not None
        with (self.folder / f"{name}.out").open("ab") as output:
            self._daemons[name] = subprocess.Popen(
                [path, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self.environment,
                start_new_session=True,
            )

    def run(self, *argv: str, user: str = "") -> subprocess.CompletedProcess[str]:
        """Run one of Slurm's commands."""
        return subprocess.run(
            argv,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            user=user or None,
        )

    def check(self, *argv: str) -> str:
        """Run one of Slurm's commands that must succeed; return what it printed."""
        result = self.run(*argv)
        assert result.returncode == 0, f"{argv}: {result.stderr}"
        return result.stdout

    def idle_nodes(self) -> list[str]:
        """Return the names of the nodes that could take a job."""
        result = self.run("sinfo", "--noheader", "-N", "--format=%N %t")
        rows = [line.split() for line in result.stdout.splitlines()]
        return sorted({row[0] for row in rows if len(row) == 2 and row[1] == "idle"})

    def submit(self, script: str, *options: str) -> str:
        """Submit a batch script; return the job's number."""
        path = self.folder / f"job-{RANDOM.randrange(10**9)}.sh"
        path.write_text(f"#!/bin/sh\n{script}\n")
        output = (
            f"--output={self.folder}/job-%A-%a.out"
            if "--array" in " ".join(options)
            else (f"--output={self.folder}/job-%j.out")
        )
        text = self.check("sbatch", "--parsable", output, "--open-mode=append", *options, str(path))
        return text.strip().partition(";")[0]

    def jobs(self) -> list[dict[str, Any]]:
        """Return the jobs as `squeue --json` has them."""
        jobs: list[dict[str, Any]] = json.loads(self.check("squeue", "--json"))["jobs"]
        return jobs

    def node_field(self, node_name: str, name: str) -> str:
        """Return one field of `scontrol show node`."""
        return self._field("node", node_name, name)

    def field(self, job_id: str, name: str) -> str:
        """Return one field of `scontrol show job`."""
        return self._field("job", job_id, name)

    def _field(self, kind: str, identity: str, name: str) -> str:
        for word in self.check("scontrol", "show", kind, "--oneliner", identity).split():
            key, _, value = word.partition("=")
            if key == name:
                return value
        return ""

    def close(self) -> None:
        """End all jobs, then all daemons."""
        if "slurmctld" in self._daemons:
            for job in self.run("squeue", "--noheader", "--format=%A").stdout.split():
                self.run("scancel", job)
            until(
                lambda: not self.run("squeue", "--noheader", "--steps", "--format=%i").stdout,
                20,
                message="jobs to end",
            )
        for process in reversed(self._daemons.values()):
            process.send_signal(signal.SIGTERM)
        for process in self._daemons.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for pid in self._step_daemons():
            os.kill(pid, signal.SIGKILL)

    def _step_daemons(self) -> list[int]:
        """Return the slurmstepd that are left of this cluster's jobs; slurmd does not end them."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                match = re.match(rb"slurmstepd: \[(\d+)\.", path.read_bytes())
                if match and 0 <= int(match[1]) - self._first_job < JOB_LIMIT:
                    found.append(int(path.parent.name))
        return found


def _find(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/usr/bin")


def _free_ports(count: int) -> list[int]:
    """Return so many free ports of loopback in a row."""
    while True:
        first = RANDOM.randrange(20_000, 30_000)
        taken = []
        try:
            for port in range(first, first + count):
                taken.append(socket.socket())
                taken[-1].bind(("127.0.0.1", port))
            return list(range(first, first + count))
        except OSError:
            continue
        finally:
            for sock in taken:
                sock.close()
