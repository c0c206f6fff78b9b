"""Hosts on one machine: each with its own network, processes, /tmp, home, sshd and name.

Namespaces end with their last process, and every process of a host ends with the host's first; so
nothing is left, even when the tests are killed. Needs root, iproute2, util-linux, openssh-server.
"""

import ctypes
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

#: Of documentation (RFC 5737): no real host has one.
NETWORK = "192.0.2."
PR_SET_PDEATHSIG = 1
#: What a host runs first; bash adopts and reaps what daemons leave behind.
FIRST = r"""
set -euo pipefail
hostname "$NAME"
mount --bind "$PLACE/tmp" /tmp
mount --bind "$PLACE/passwd" /etc/passwd
mount -t tmpfs run /run && mkdir -p /run/sshd
mount -t tmpfs shm /dev/shm
read -r _go
ip link set lo up
ip address add "$ADDRESS/24" dev eth0
ip link set eth0 up
ip route add default via "$GATEWAY"  # nobody there; Ray finds its own address by it
[ -z "$SSHD" ] || /usr/sbin/sshd -D -e -f "$PLACE/sshd_config" 2>> "$PLACE/sshd.log" &
echo ready
while sleep 1; do :; done
"""


def end_with_parent() -> None:
    """The kernel ends this process when the tests' process ends, however it ends."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def call(*command: str | Path) -> str:
    done = subprocess.run([*map(str, command)], check=True, capture_output=True, text=True)
    return done.stdout


@dataclass
class Host:
    """A host that is up: `pid` is its first process, as the machine counts."""

    name: str
    address: str
    place: Path
    process: subprocess.Popen[str] = field(repr=False)

    @property
    def home(self) -> Path:
        return self.place / "home"

    @property
    def pid(self) -> int:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return int(children.read_text().split()[0])

    def command(self, line: str, environment: Mapping[str, str] | None = None) -> list[str]:
        """A shell line as a command that runs on this host, with its own small environment."""
        given = {"HOME": str(self.home), "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"}
        given |= {"LANG": "C.UTF-8", "USER": "root", "SHELL": "/bin/bash", **(environment or {})}
        settings = [f"{key}={value}" for key, value in given.items()]
        inside = ["nsenter", "--target", str(self.pid), "--mount", "--uts", "--net", "--pid"]
        return [*inside, f"--wd={self.home}", "env", "-i", *settings, "bash", "-c", line]

    def run(
        self, line: str, environment: Mapping[str, str] | None = None, timeout_s: float = 600
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(line, environment),
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            stdin=subprocess.DEVNULL,
        )

    def start(
        self, line: str, log: Path, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """A command that goes on beside the test and ends with it at the latest."""
        with log.open("wb") as out:
            return subprocess.Popen(
                self.command(line, environment),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                preexec_fn=end_with_parent,  # noqa: PLW1509 - one thread
            )

    def kill(self) -> None:
        """Power off: the first process of a host takes all others with it."""
        self.process.kill()
        self.process.wait()

    def cut_off(self) -> None:
        """Pull the plug of its network; its processes go on."""
        call("nsenter", "--target", str(self.pid), "--net", "ip", "link", "set", "eth0", "down")

    def processes(self) -> list[str]:
        found = self.run("ps -e -o args=").stdout.splitlines()
        return [line for line in found if line.split()[0] not in ("ps", "sleep", "bash")]


class Lan:
    """A switch, and the hosts on it."""

    def __init__(self, place: Path, stack: ExitStack) -> None:
        self.place = place
        self.shared = place / "shared"
        self.key = place / "key"
        self._stack = stack
        self._count = 0
        self._switch = self._spawn(["unshare", "--net", "--", "sleep", "infinity"], {})
        while _network_of(self._switch.pid) == _network_of(os.getpid()):
            os.sched_yield()  # or the bridge would be this machine's
        self._on_switch("link", "add", "lan", "type", "bridge")
        self._on_switch("link", "set", "lan", "up")
        self.shared.mkdir()
        call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key)
        call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", place / "host_key")

    def _on_switch(self, *words: str) -> None:
        call("nsenter", "--target", str(self._switch.pid), "--net", "ip", *words)

    def _spawn(
        self, command: Sequence[str], environment: Mapping[str, str]
    ) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*command],
            env={"PATH": os.environ["PATH"], **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=end_with_parent,  # noqa: PLW1509 - one thread
        )
        self._stack.push(process)  # waits for it and closes its pipes
        self._stack.callback(process.kill)
        return process

    def add(
        self,
        name: str,
        environment: Mapping[str, str],
        *,
        sshd: bool = True,
        address: str | None = None,
    ) -> Host:
        """Switch a host on; `environment` is that of every login.

        A name that was there before finds its disk as it was, but for an empty /tmp.
        """
        self._count += 1
        address = address or f"{NETWORK}{9 + self._count}"
        place = self.place / name
        shutil.rmtree(place / "tmp", ignore_errors=True)
        for folder in ("home/.ssh", "tmp"):
            (place / folder).mkdir(parents=True, exist_ok=True)
        (place / "tmp").chmod(0o1777)
        (place / "passwd").write_text(_passwd(place / "home"))
        (place / "sshd_config").write_text(_sshd_config(self.place, environment))
        settings = {"NAME": name, "ADDRESS": address, "PLACE": str(place)}
        settings["GATEWAY"] = f"{NETWORK}1"
        settings["SSHD"] = "yes" if sshd else ""
        spaces = ["--mount", "--pid", "--fork", "--mount-proc", "--uts", "--net", "--kill-child"]
        process = self._spawn(["unshare", *spaces, "--", "bash", "-c", FIRST], settings)
        host = Host(name, address, place, process)
        self._plug_in(host)
        return host

    def _plug_in(self, host: Host) -> None:
        port = f"port{self._count}"
        here = ["netns", str(self._switch.pid)]
        while not _has_child(host.process):
            os.sched_yield()
        call("ip", "link", "add", port, *here, "type", "veth", "peer", "eth0", "netns", host.pid)
        self._on_switch("link", "set", port, "master", "lan", "up")
        assert host.process.stdin is not None
        assert host.process.stdout is not None
        host.process.stdin.write("go\n")
        host.process.stdin.flush()
        assert host.process.stdout.readline() == "ready\n"


def _network_of(pid: int) -> str:
    return str(Path(f"/proc/{pid}/ns/net").readlink())


def _has_child(process: subprocess.Popen[str]) -> bool:
    if process.poll() is not None:
        raise RuntimeError(f"a host ended at once with status {process.returncode}; is this root?")
    return bool(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())


def _passwd(home: Path) -> str:
    lines = Path("/etc/passwd").read_text().splitlines()
    root = f"root:x:0:0:root:{home}:/bin/bash"
    return "\n".join(root if line.startswith("root:") else line for line in lines) + "\n"


def _sshd_config(place: Path, environment: Mapping[str, str]) -> str:
    settings = " ".join(shlex.quote(f"{key}={value}") for key, value in environment.items())
    lines = [
        f"HostKey {place / 'host_key'}",
        f"AuthorizedKeysFile {place / 'key.pub'}",
        "StrictModes no",
        "PermitRootLogin prohibit-password",
        "PasswordAuthentication no",
        "UsePAM no",
        "PidFile none",
        "MaxStartups 50",
        *([f"SetEnv {settings}"] if settings else []),
    ]
    return "\n".join(lines) + "\n"


@contextmanager
def lan() -> Iterator[Lan]:
    """A switch for the length of a test; all hosts and files go with it."""
    place = Path(tempfile.mkdtemp(prefix="f2c-lan-", dir="/var/tmp"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, place, ignore_errors=True)
        yield Lan(place, stack)
