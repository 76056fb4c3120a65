"""Several hosts on one machine, for trying `ray up` on something real.

Each host has its own network, mounts, processes and host name, an overlay of the root file system of
its own (own /root, /etc, /tmp, /dev/shm), an address on a private bridge, and sshd as process 1; what
happens inside stays inside, and goes with that process. Needs root, and Debian's iproute2,
openssh-server and rsync.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

TOOLS = ("ip", "unshare", "nsenter", "sshd", "rsync", "ssh-keygen")
NET = "10.77.6"
ADDRESSES = {"laptop": f"{NET}.254", "head": f"{NET}.10", "w1": f"{NET}.11", "w2": f"{NET}.12"}
SHARED = "/mnt/shared"
CLUSTER = f"{SHARED}/cluster.yaml"
STARTS_S = 20.0

# Run as process 1 of new mount, uts, ipc and pid namespaces. Arguments: name, scratch, venv, repository.
INIT = r"""
set -eu
name=$1 work=$2 venv=$3 repo=$4
mount --make-rprivate /
root=$work/$name; mkdir -p "$root"; mount -t tmpfs -o size=4g tmpfs "$root"
mkdir "$root"/upper "$root"/work "$root"/new; new=$root/new
mount -t overlay overlay -o "lowerdir=/,upperdir=$root/upper,workdir=$root/work" "$new"
rm -rf "$new"/root/.ray "$new"/root/.ssh "$new"/root/.aws
mount -t proc proc "$new"/proc; mount --rbind /sys "$new"/sys; mount --rbind /dev "$new"/dev
mount -t tmpfs -o size=1g,mode=1777 tmpfs "$new"/dev/shm
mount -t tmpfs -o mode=1777 tmpfs "$new"/tmp
mount -t tmpfs tmpfs "$new"/run; mkdir -p "$new"/run/sshd "$new"/mnt/shared "$new"/mnt/old
mount --bind "$work"/shared "$new"/mnt/shared
for tree in "$venv" "$repo"; do mkdir -p "$new$tree"; mount --bind "$tree" "$new$tree"; done
mkdir -m 700 "$new"/root/.ssh; cp "$work"/keys/id.pub "$new"/root/.ssh/authorized_keys
[ "$name" = laptop ] && install -m 600 "$work"/keys/id "$new"/root/.ssh/cluster.pem
echo "export PATH=$venv/bin:\$PATH" | tee "$new"/etc/profile.d/venv.sh >> "$new"/root/.bashrc
hostname "host-$name"; cp "$work"/hosts "$new"/etc/hosts
cd "$new"; pivot_root . mnt/old; cd /; umount -l /mnt/old
exec "$(command -v sshd || echo /usr/sbin/sshd)" -D -e -o UsePAM=no
"""


def missing() -> str:
    """Why hosts cannot be made here; "" if they can."""
    if os.geteuid() != 0:
        return "not root"
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    lacking = [tool for tool in TOOLS if shutil.which(tool, path=path) is None]
    if lacking:
        return f"lacks {', '.join(lacking)}"
    tried = subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True, check=False)
    return "" if tried.returncode == 0 else "namespaces are not allowed"


@dataclass
class Hosts:
    """The hosts of ADDRESSES, up for the length of a `with` block.

    Attributes:
        work: scratch folder; `work/shared` is SHARED on all of them.
        venv: put first on every host's PATH.
        repo: the clone under test.
    """

    work: Path
    venv: Path
    repo: Path
    first: dict[str, int] = field(default_factory=dict)
    _outer: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _tag: str = f"sw{os.getpid()}"

    @property
    def shared(self) -> Path:
        """The folder that all hosts share, as seen from here."""
        return self.work / "shared"

    def __enter__(self) -> Hosts:
        for folder in ("shared", "keys", "logs"):
            (self.work / folder).mkdir(parents=True)
        self._do("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.work / "keys/id"))
        names = [f"{address} host-{name}" for name, address in ADDRESSES.items()]
        (self.work / "hosts").write_text("\n".join(["127.0.0.1 localhost", *names, ""]))
        self._do("ip", "netns", "add", f"{self._tag}-switch")
        self._do("ip", "-n", f"{self._tag}-switch", "link", "add", "br0", "type", "bridge")
        self._do("ip", "-n", f"{self._tag}-switch", "link", "set", "br0", "up")
        for name in ADDRESSES:
            self._boot(name)
        for name, outer in zip(ADDRESSES, self._outer, strict=True):
            self.first[name] = self._wait_for(name, outer.pid)
        return self

    def __exit__(self, *_: object) -> None:
        for name in ADDRESSES:
            self.kill(name)
        for outer in self._outer:
            outer.wait()
        for name in (*ADDRESSES, "switch"):
            subprocess.run(["ip", "netns", "del", f"{self._tag}-{name}"], capture_output=True, check=False)

    def start(
        self, name: str, command: str, log: Path, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a shell command on a host, with its output in `log`."""
        with log.open("ab") as output:
            return subprocess.Popen(
                self._inside(name, command, environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def run(
        self,
        name: str,
        command: str,
        environment: Mapping[str, str] | None = None,
        *,
        check: bool = True,
        timeout: float = 120.0,
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell command on a host to its end; its stderr is kept separate."""
        done = subprocess.run(
            self._inside(name, command, environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def cut(self, name: str) -> None:
        """Pull the host's network plug."""
        self._do("ip", "-n", f"{self._tag}-switch", "link", "set", f"v-{name}", "down")

    def heal(self, name: str) -> None:
        """Reconnect it."""
        self._do("ip", "-n", f"{self._tag}-switch", "link", "set", f"v-{name}", "up")

    def kill(self, name: str) -> None:
        """Power off: every process of the host ends with its first."""
        if name in self.first:
            os.kill(self.first.pop(name), signal.SIGKILL)

    def _boot(self, name: str) -> None:
        space = f"{self._tag}-{name}"
        self._do("ip", "netns", "add", space)
        switch = f"{self._tag}-switch"
        self._do(
            *("ip", "link", "add", f"v-{name}", "netns", switch, "type", "veth"),
            *("peer", "name", "eth0", "netns", space),
        )
        self._do("ip", "-n", switch, "link", "set", f"v-{name}", "master", "br0", "up")
        self._do("ip", "-n", space, "addr", "add", f"{ADDRESSES[name]}/24", "dev", "eth0")
        self._do("ip", "-n", space, "link", "set", "lo", "up")
        self._do("ip", "-n", space, "link", "set", "eth0", "up")
        arguments = [name, str(self.work), str(self.venv), str(self.repo)]
        command = ["ip", "netns", "exec", space, "unshare", "--mount", "--uts", "--ipc", "--pid", "--fork"]
        command += ["--kill-child", "bash", "-c", INIT, "init", *arguments]
        with (self.work / "logs" / name).open("wb") as log:
            outer = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._outer.append(outer)

    def _wait_for(self, name: str, outer: int) -> int:
        """Process 1 of a host, once its sshd listens."""
        deadline = time.monotonic() + STARTS_S
        while time.monotonic() < deadline:
            children = Path(f"/proc/{outer}/task/{outer}/children").read_text().split()
            if children:
                listening = ["nsenter", "-t", children[0], "-n", "ss", "-ltn"]
                ports = subprocess.run(listening, capture_output=True, text=True, check=False).stdout
                if ":22 " in ports:
                    return int(children[0])
            time.sleep(0.1)
        raise RuntimeError(f"host {name} did not start: {(self.work / 'logs' / name).read_text()}")

    def _inside(self, name: str, command: str, environment: Mapping[str, str] | None) -> list[str]:
        variables = {
            "HOME": "/root",
            "USER": "root",
            "TERM": "xterm",
            "LANG": "C.UTF-8",
            "PATH": f"{self.venv}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            **(environment or {}),
        }
        enter = ["nsenter", "-t", str(self.first[name]), "-n", "-m", "-p", "-u", "-i", "-r", "-w", "--"]
        return [
            *enter,
            "env",
            "-i",
            *(f"{key}={value}" for key, value in variables.items()),
            "bash",
            "-c",
            command,
        ]

    def _do(self, *command: str) -> None:
        subprocess.run(command, check=True, capture_output=True)


@contextmanager
def cluster_up(hosts: Hosts, environment: str = "") -> Iterator[str]:
    """The cluster of clusters/onprem.yaml, brought up from the laptop as the docs say; its file.

    Args:
        hosts: up.
        environment: `NAME=value ...` for Ray on all nodes.
    """
    text = (hosts.repo / "clusters/onprem.yaml").read_text(encoding="utf-8")
    text = text.replace("192.0.2.", f"{NET}.").replace("ssh_user: ubuntu", "ssh_user: root")
    text = text.replace("export RAY_AUTH_MODE=token", f"export RAY_AUTH_MODE=token {environment}")
    (hosts.shared / "cluster.yaml").write_text(text, encoding="utf-8")
    hosts.run("laptop", "mkdir /root/project; ray get-auth-token --generate")
    hosts.run("laptop", f"RAY_UP_enable_autoscaler_v2=0 ray up -y --no-config-cache {CLUSTER}")
    well = "import sys; from raysweep.tracking.server import is_healthy; sys.exit(not is_healthy(5000))"
    wait_until(
        lambda: hosts.run("head", f"cd {hosts.repo} && python -c '{well}'", check=False).returncode == 0,
        or_say=lambda: hosts.run("head", "cat ~/mlflow-server.log").stdout,
    )
    yield CLUSTER
    hosts.run("laptop", f"ray down -y {CLUSTER}", check=False)


def wait_until(
    true: Callable[[], bool],
    seconds: float = 90.0,
    or_say: Callable[[], str] = lambda: "did not happen in time",
) -> None:
    """Wait for a condition; fail with the text of `or_say`."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, or_say()
        time.sleep(0.5)
