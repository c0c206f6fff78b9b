"""Join a Ray cluster that runs already, or say in one sentence why that cannot be."""

import os
import socket
from typing import Any

from trainables.errors import ConfigError

#: A gRPC server answers this with a frame of settings; what else may have a port does not.
HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
FRAME_HEADER_BYTES, SETTINGS_FRAME = 9, 4
ANSWER_S = 10.0


def join(address: str, quiet: dict[str, Any]) -> None:
    """Connect to the cluster at an address.

    Args:
        address: HOST:PORT or `auto`.
        quiet: further options of `ray.init`.

    Raises:
        ConfigError: when nothing, another program, or a cluster that refuses us answers there.
    """
    import ray
    from ray.exceptions import AuthenticationError

    if "://" in address:  # of Ray Client, which would run Tune, and so this program, elsewhere
        raise ConfigError(
            f"--address {address} is none that a run can join: give HOST:PORT as `ray start` "
            "printed it, or auto on a node of the cluster"
        )
    if os.environ.get("RAY_USE_TLS", "0") != "1":
        _check_answer(*address.rpartition(":")[::2])
    try:
        ray.init(address=address, **quiet)
    except (AuthenticationError, ConnectionError, RuntimeError) as error:
        told = _why_not_joined(address, error)
        if told is None:
            raise
        raise ConfigError(told) from None


def _why_not_joined(address: str, error: Exception) -> str | None:
    """One sentence for what Ray says in many; the reason may be a cause of what it raises."""
    reason = f"{type(error).__name__}: {error} {error.__cause__ or ''}"
    if "Authentication" in reason:
        return (
            f"the cluster at {address} wants another token: put its ~/.ray/auth_token (mode 0600) "
            "here and set RAY_AUTH_MODE=token"
        )
    if "Version mismatch" in reason:
        return (
            f"the cluster at {address} has other versions than this machine: set both up from one "
            f"requirements.lock ({' '.join(str(error).split())})"
        )
    if isinstance(error, ConnectionError):
        return f"no Ray cluster answers at --address {address}: {error}"
    return None


def _check_answer(host: str, port: str) -> None:
    """Refuse a port that nothing or another program has; Ray tries for minutes and says nothing."""
    if not port.isdigit():
        return  # "auto"
    try:
        there = socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_S)
    except OSError as error:
        raise ConfigError(
            f"nothing answers at --address {host}:{port} ({error.strerror or 'in time'}): is the "
            "cluster up, and may this machine reach it?"
        ) from None
    with there:
        if _first_frame(there)[3:4] != bytes([SETTINGS_FRAME]):
            raise ConfigError(
                f"what answers at --address {host}:{port} is not Ray: another program has the "
                "port; give the address that `ray start` printed"
            )


def _first_frame(there: socket.socket) -> bytes:
    try:
        there.sendall(HTTP2_PREFACE)
        return there.recv(FRAME_HEADER_BYTES)
    except OSError:
        return b""
