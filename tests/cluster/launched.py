"""A cluster as a user has it: laptop, head and workers on a network of their own, and `ray up`.

cluster-local.yaml is cluster.yaml with another provider, its node types gone, other addresses, and
the part that users edit; its mounts, set-up, start commands and token handling are the same lines.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.hosts import Host, Lan

REPOSITORY = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
#: Of the head and the workers.
CPUS = (0, 1, 1, 1)
#: The demo's 79 cells and photos, in a fifth of its epochs: hosts share this machine's cores.
SETTINGS = """cat > ~/f2c.env <<'END'
export F2C_RECIPE=demo
export F2C_FLAGS='--address auto --root {root} --train.epochs 2'
END
"""


def local_config(lan: Lan, head: Host, workers: list[Host]) -> dict[str, Any]:
    """What cluster.yaml becomes on machines that exist already."""
    config = yaml.safe_load((REPOSITORY / "cluster.yaml").read_text())
    for of_aws in ("available_node_types", "head_node_type", "max_workers"):
        del config[of_aws]
    config["provider"] = {
        "type": "local",
        "head_ip": head.address,
        "worker_ips": [worker.address for worker in workers],
    }
    config["auth"] = {"ssh_user": "root", "ssh_private_key": str(lan.key)}
    edited = {
        config["metadata"]["settings"]: SETTINGS.format(root=lan.shared / "runs"),
        config["metadata"]["shared"]: f"test -w {lan.shared}",
    }
    config["setup_commands"] = [edited.get(line, line) for line in config["setup_commands"]]
    del config["metadata"]
    return config


def login_environment(cpus: int) -> dict[str, str]:
    """Packages come from uv's cache: the hosts reach no registry.

    `cpus` are given to Ray as the launcher gives a cloud's node its type's resources: the head's
    type takes no stages.
    """
    cache = subprocess.run([BIN / "uv", "cache", "dir"], capture_output=True, text=True, check=True)
    return {
        "UV_CACHE_DIR": cache.stdout.strip(),
        "UV_OFFLINE": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "RAY_memory_monitor_refresh_ms": "0",
        "RAY_OVERRIDE_RESOURCES": json.dumps({"CPU": cpus}),
    }


@dataclass
class Launched:
    """The hosts of a cluster, and what its user does on the laptop."""

    lan: Lan
    laptop: Host
    head: Host
    workers: list[Host]
    logs: Path
    up_s: float = field(default=0.0)

    @property
    def config(self) -> Path:
        return self.laptop.home / "cluster-local.yaml"

    @property
    def runs(self) -> Path:
        return self.lan.shared / "runs"

    def user_line(self, line: str) -> str:
        return f"cd {REPOSITORY} && export PATH={BIN}:$PATH RAY_AUTH_MODE=token && {line}"

    def user(self, line: str, timeout_s: float = 900) -> str:
        """A line that the user types on the laptop, in the repository.

        Raises:
            AssertionError: with what it printed, when it fails.
        """
        done = self.laptop.run(self.user_line(line), timeout_s=timeout_s)
        with (self.logs / "laptop.log").open("a") as log:
            log.write(f"$ {line}\n{done.stdout}\n")
        assert done.returncode == 0, f"{line}: {done.returncode}\n{done.stdout[-4000:]}"
        return done.stdout

    def up(self) -> None:
        """`ray up` as docs/cluster/local.yaml says it for machines that exist already."""
        self.user(f"RAY_UP_enable_autoscaler_v2=0 ray up {self.config} --yes")

    def restart(self) -> None:
        """Switch all hosts off and on, disks as they were, and `ray up` again."""
        for host in (self.head, *self.workers):
            host.kill()
        self.head, *self.workers = [
            self.lan.add(host.name, login_environment(cpus), address=host.address)
            for host, cpus in zip((self.head, *self.workers), CPUS, strict=True)
        ]
        self.up()

    def write_config(self) -> None:
        made = local_config(self.lan, self.head, self.workers)
        self.config.write_text(yaml.safe_dump(made, sort_keys=False))


def launch(lan: Lan, logs: Path) -> Launched:
    """Switch the hosts on and give the laptop a token; `ray up` is the user's."""
    laptop = lan.add("laptop", {}, sshd=False)
    names = ("head", "one", "two", "three")
    head, *workers = [
        lan.add(name, login_environment(cpus)) for name, cpus in zip(names, CPUS, strict=True)
    ]
    for worker in workers:  # as from an image of a node that was set up: the head installs
        (worker.home / "f2c-env").symlink_to(head.home / "f2c-env")
    for host in (head, *workers):
        profile = f"export PATH={_python_folder()}:{_uv_folder(lan)}:$PATH\n"
        (host.home / ".bash_profile").write_text(profile)
    cluster = Launched(lan, laptop, head, workers, logs)
    cluster.write_config()
    cluster.user("ray get-auth-token --generate > /dev/null && chmod 600 ~/.ray/auth_token")
    return cluster


def _python_folder() -> Path:
    return Path(os.path.realpath(sys.executable)).parent


def _uv_folder(lan: Lan) -> Path:
    """A folder with nothing but uv in it, as a machine has that installed it."""
    folder = lan.place / "uv"
    if not folder.exists():
        folder.mkdir()
        (folder / "uv").symlink_to((BIN / "uv").resolve())
    return folder
