"""Says which program has a port that Ray's head needs; silent, with status 0, where all are free.

`python free_ports.py 6379 8265`, after `ray stop` and before `ray start`, which would wait and then
fail in many lines.
"""

import errno
import socket
import sys

import psutil


def is_taken(port: int) -> bool:
    """Whether another program listens on a port of this machine."""
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # not by what has just ended
        try:
            tried.bind(("", port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return True
    return False


def owner_of(port: int) -> str:
    """The program that listens; another user's has no name for us."""
    for found in psutil.net_connections("tcp"):
        listens = found.status == psutil.CONN_LISTEN and found.laddr.port == port
        if listens and found.pid is not None:
            return f"{psutil.Process(found.pid).name()} (process {found.pid})"
    return "a program of another user"


def main() -> int:
    """Status 2 and one sentence for each port that is taken."""
    taken = [port for port in map(int, sys.argv[1:]) if is_taken(port)]
    for port in taken:
        print(  # noqa: T201
            f"{socket.gethostname()}: port {port} is taken by {owner_of(port)}, and Ray's head "
            "needs it; stop that program, or change the port in cluster.yaml's ray start commands"
        )
    return 2 if taken else 0


if __name__ == "__main__":
    sys.exit(main())
