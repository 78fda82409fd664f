"""A whole Slurm on this machine: two nodes, a controller, and the database that sacct reads.

All of it lives in a temporary directory and listens on the loopback interface. Debian's packages are munge, slurm-wlm,
slurmdbd and mariadb-server-core.
"""

import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from getpass import getuser
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

PROGRAMS = ("munged", "mariadbd", "slurmdbd", "slurmctld", "slurmd", "srun", "setpriv")
NODES = ("node1", "node2")

ACCOUNTING = """
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={database_port}
SlurmUser={user}
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser={user}
StoragePass=none
StorageLoc=slurm
PidFile={folder}/slurmdbd.pid
LogFile={folder}/slurmdbd.log
"""

# The nodes claim four cores and a GPU each, which are not there, so that the preset's own request is granted.
SLURM = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={database_port}
AccountingStoragePass={folder}/munge.socket
JobAcctGatherType=jobacct_gather/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,requeue_delay=1
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout=6
KillWait=1
MinJobAge=60
CompleteWait=0
GresTypes=gpu
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={node1_port} CPUs=4 RealMemory=16384 Gres=gpu:1
NodeName=node2 NodeHostname={host} NodeAddr=127.0.0.1 Port={node2_port} CPUs=4 RealMemory=16384 Gres=gpu:1
PartitionName=both Nodes=node1,node2 Default=YES MaxTime=INFINITE State=UP
"""


class Slurm:
    """A context in which the commands of Slurm, started with `environment`, talk to this cluster.

    >>> with Slurm() as slurm:
    ...     slurm.ask("sinfo")
    """

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.folder = Path(stack.enter_context(TemporaryDirectory(prefix="slurm")))
            self.environment = {"SLURM_CONF": str(self.folder / "slurm.conf")}
            self._daemons: list[subprocess.Popen[bytes]] = []
            stack.callback(self._end)
            self._configure()
            self._start()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def ask(self, *words: str) -> str:
        """What a command of Slurm prints."""
        environment = {**os.environ, **self.environment}
        return subprocess.run(words, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout

    def kill(self, node: str) -> None:
        """End a node's daemon and all of its jobs at once, as a power cut does."""
        for process in self._processes(node):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def boot(self, node: str) -> None:
        """Start the daemon of a node, and wait until the controller knows it."""
        self._daemon("slurmd", "-D", "-N", node, SLURMD_NODENAME=node)  # which its jobs have, too
        until(lambda: self._state(node) in ("idle", "mixed", "allocated"), f"{node} is not known to the controller")

    def _configure(self) -> None:
        ports = dict(zip(("controller_port", "database_port", "node1_port", "node2_port"), _free_ports(), strict=False))
        values = {"folder": self.folder, "host": socket.gethostname().split(".")[0], "user": getuser(), **ports}
        files = {
            "slurm.conf": SLURM.format(**values),
            "slurmdbd.conf": ACCOUNTING.format(**values),
            "gres.conf": "NodeName=node[1-2] Name=gpu File=/dev/null\n",
            "cgroup.conf": "CgroupPlugin=cgroup/v1\n",
            "munge.key": secrets.token_hex(64),
        }
        for name, text in files.items():
            (self.folder / name).write_text(text)
            (self.folder / name).chmod(0o600)  # slurmdbd and munged refuse to read what others may
        for name in ("database", "state", *NODES):
            (self.folder / name).mkdir()

    def _start(self) -> None:
        folder = self.folder
        munge = {name: f"{folder}/munge.{name}" for name in ("key-file", "seed-file", "pid-file", "log-file")}
        munge["key-file"] = f"{folder}/munge.key"
        options = [f"--{name}={file}" for name, file in munge.items()]
        self._daemon("munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *options)
        until((folder / "munge.socket").exists, "munged has no socket")
        database = [f"--datadir={folder}/database", f"--socket={folder}/database.socket", f"--user={getuser()}"]
        self._daemon("mariadbd", "--no-defaults", "--skip-grant-tables", "--skip-networking", *database)
        until((folder / "database.socket").exists, "mariadbd has no socket")
        self._daemon("slurmdbd", "-D", MYSQL_UNIX_PORT=f"{folder}/database.socket")
        until(lambda: self._answer("sacctmgr", "--noheader", "show", "cluster") is not None, "slurmdbd does not answer")
        self._daemon("slurmctld", "-D", "-i")
        for node in NODES:
            self.boot(node)

    def _daemon(self, name: str, *words: str, **environment: str) -> None:
        command = ["setpriv", "--pdeathsig", "KILL", name, *words]  # if the tests are killed, nothing is left of it
        environment = {**os.environ, **self.environment, "SLURMD_NODENAME": name, **environment}
        with (self.folder / f"{name}.out").open("ab") as log:
            daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        self._daemons.append(daemon)

    def _state(self, node: str) -> str:
        return (self._answer("sinfo", "--noheader", f"--nodes={node}", "--format=%T") or "unknown").strip()

    def _answer(self, *words: str) -> str | None:
        """What a command prints, or None while the daemon that it asks does not answer yet."""
        with suppress(subprocess.CalledProcessError):
            return self.ask(*words)
        return None

    def _processes(self, node: str = "") -> list[int]:
        """The daemons and the jobs of a node, or of the whole cluster."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                variables = (folder / "environ").read_bytes().decode(errors="replace").split("\0")
                here = f"SLURM_CONF={self.folder}/slurm.conf" in variables
                if here and any(word.startswith(f"SLURMD_NODENAME={node}") for word in variables):
                    found.append(int(folder.name))
        return found

    def _end(self) -> None:
        def ended() -> bool:
            left = self._processes()
            for process in left:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            for daemon in self._daemons:
                daemon.poll()
            return not left

        until(ended, "a process of Slurm is left")


def until(happened: Callable[[], object], otherwise: str, seconds: float = 60) -> None:
    """Wait until something happens; fail with the sentence `otherwise` if it does not."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, otherwise
        time.sleep(0.1)


def _free_ports() -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(4)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
