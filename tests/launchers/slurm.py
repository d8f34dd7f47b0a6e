"""A Slurm cluster of one node with two CPUs: the distribution's own daemons, on loopback."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tests.waiting import wait_until

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue", "scancel")
CPUS = 2

# cred_expire: how long a job that is queued again has to wait. RequeueExit: a job whose process was
# killed (128 + 9) is queued again, as a cluster's owner may choose. No accounting: sacct is mute.
_CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
SlurmctldPort={control_port}
SlurmdPort={node_port}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
KillWait=2
MinJobAge=600
RequeueExit=137
SchedulerParameters=sched_interval=1,sched_min_interval=200000,batch_sched_delay=0
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=1000 State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
"""


def missing() -> list[str]:
    """Return the programs that a cluster needs and this machine does not have."""
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin"))
    return [name for name in NEEDED if shutil.which(name, path=path) is None]


@contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """Start a cluster whose files are in `folder`; give the environment its commands need.

    At the end every process that it has started, jobs included, is gone.
    """
    folder.mkdir(parents=True)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    host = socket.gethostname().partition(".")[0]
    control_port, node_port = _free_ports(2)
    conf = folder / "slurm.conf"
    conf.write_text(
        _CONF.format(
            folder=folder, host=host, user=_user(), cpus=CPUS,
            control_port=control_port, node_port=node_port,
        )
    )  # fmt: skip
    env = os.environ | {"SLURM_CONF": str(conf)}
    env["PATH"] = os.pathsep.join((env["PATH"], "/usr/sbin"))
    munged = [
        *("munged", "--foreground", "--force", f"--key-file={key}"),
        *(f"--{kind}-file={folder}/munge.{kind}" for kind in ("pid", "seed", "log")),
        f"--socket={folder}/munge.socket",
    ]
    with ExitStack() as started:
        started.callback(_end_leftovers, folder)
        started.enter_context(_daemon(munged, folder / "munged.out", env))
        wait_until((folder / "munge.socket").exists, "munged listens")
        started.enter_context(_daemon(["slurmctld", "-D"], folder / "slurmctld.out", env))
        started.enter_context(_daemon(["slurmd", "-D", "-N", host], folder / "slurmd.out", env))
        wait_until(lambda: "idle" in _states(env), f"the node is idle, see {folder}/*.out")
        started.callback(_cancel_all, env)
        yield env


def call(env: Mapping[str, str], *command: str) -> str:
    """Run a command of Slurm's; return what it printed."""
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


def processes_of(folder: Path) -> list[int]:
    """Return the processes whose environment names the configuration in `folder`."""
    wanted = f"SLURM_CONF={folder}/slurm.conf".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if wanted in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return [pid for pid in found if pid != os.getpid()]


def _states(env: Mapping[str, str]) -> str:
    done = subprocess.run(["sinfo", "-h", "-o", "%t"], env=env, capture_output=True, text=True)
    return done.stdout


def _cancel_all(env: Mapping[str, str]) -> None:
    call(env, "scancel", f"--user={_user()}")
    with suppress(AssertionError):
        wait_until(lambda: not call(env, "squeue", "-h").strip(), "no job is left")


@contextmanager
def _daemon(command: list[str], out: Path, env: Mapping[str, str]) -> Iterator[None]:
    with out.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            command, env=env, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
        )
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _end_leftovers(folder: Path) -> None:
    for pid in processes_of(folder):
        with suppress(ProcessLookupError):
            os.kill(pid, 9)


def _user() -> str:
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
