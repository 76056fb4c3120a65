"""A real Slurm on the hosts of tests/cluster/hosts.py: munge on all, its controller on one, two nodes.

Needs Debian's slurm-wlm and munge. Nothing of it is started outside the hosts.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cluster.hosts import NET, SHARED, Hosts, wait_until

TOOLS = ("munged", "slurmctld", "slurmd", "sbatch")
CONF = f"{SHARED}/slurm.conf"
ENVIRONMENT = {"SLURM_CONF": CONF}
CONFIG = f"""
ClusterName=hosts
GresTypes=gpu
SlurmctldHost=host-head
SlurmUser=root
AuthType=auth/munge
AuthInfo=cred_expire=5
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
StateSaveLocation=/var/lib/slurm/controller
SlurmdSpoolDir=/var/lib/slurm/node
SlurmdParameters=config_overrides
ReturnToService=2
SchedulerParameters=sched_interval=2,bf_interval=2
NodeName=host-w1 NodeAddr={NET}.11 CPUs=2 RealMemory=4000 Gres=gpu:2
NodeName=host-w2 NodeAddr={NET}.12 CPUs=2 RealMemory=4000 Gres=gpu:2
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
MUNGE = """
mkdir -p /var/lib/slurm/node && install -d -o munge -g munge /run/munge &&
setpriv --reuid=munge --regid=munge --clear-groups munged
"""


def lacking() -> str:
    """The parts of Slurm that are not installed here; "" if all are."""
    tools = [tool for tool in TOOLS if shutil.which(tool, path="/usr/bin:/usr/sbin") is None]
    return f"lacks {', '.join(tools)}" if tools else ""


@contextmanager
def slurm_up(hosts: Hosts) -> Iterator[None]:
    """Slurm on the hosts, ended with them; `laptop` is its login node."""
    (hosts.shared / "slurm.conf").write_text(CONFIG, encoding="utf-8")
    gpus = "".join(f"Name=gpu File=/dev/{device}\n" for device in ("null", "zero"))  # a file is all they need
    (hosts.shared / "gres.conf").write_text(gpus, encoding="utf-8")
    (hosts.shared / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n", encoding="utf-8")
    daemons: list[subprocess.Popen[bytes]] = []
    for host, program in (("head", "slurmctld"), ("w1", "slurmd"), ("w2", "slurmd"), ("laptop", "")):
        hosts.run(host, MUNGE)
        if program:
            log = hosts.work / f"{program}-{host}"
            daemons.append(hosts.start(host, f"exec {program} -D", log, ENVIRONMENT))
    idle = "sinfo --noheader --states=idle --format=%D"
    try:
        wait_until(lambda: hosts.run("laptop", idle, ENVIRONMENT, check=False).stdout.strip() == "2", 60)
        yield
    finally:
        for daemon in daemons:
            daemon.kill()
            daemon.wait()
