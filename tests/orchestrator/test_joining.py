"""A cluster that cannot be joined: why, in one sentence, within seconds."""

import socket
import threading

import pytest
from ray.exceptions import AuthenticationError

from orchestrator import joining
from trainables.errors import ConfigError


def caused_by(reason: str) -> ConnectionError:
    """As Ray 2.60 says it: the reason is in the cause."""
    error = ConnectionError("Failed to connect to Ray cluster at h:1")
    error.__cause__ = RuntimeError(f"Failed to connect to GCS. Last connection error: {reason}")
    return error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (AuthenticationError("no"), "at auto wants another token: put its ~/.ray/auth_token"),
        (
            caused_by(
                "Unauthenticated: RPC error: InvalidAuthToken: Authentication token is wrong"
            ),
            "at auto wants another token",
        ),
        (ConnectionError("no node"), "no Ray cluster answers at --address auto: no node"),
        (
            RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.59.0\n"),
            r"other versions .* from one requirements.lock \(.* with: Ray: 2.59.0\)",
        ),
    ],
)
def test_why_a_cluster_cannot_be_joined_is_told_in_one_sentence(monkeypatch, error, said):
    def refuse(**_options):
        raise error

    monkeypatch.setattr("ray.init", refuse)
    with pytest.raises(ConfigError, match=said) as told:
        joining.join("auto", {})
    assert "\n" not in str(told.value)


def test_an_address_of_ray_client_is_refused_at_once_with_what_to_give_instead(monkeypatch):
    monkeypatch.setattr("ray.init", lambda **_: pytest.fail("Tune would run elsewhere"))
    with pytest.raises(ConfigError, match=r"--address ray://h:1 is none .* give HOST:PORT"):
        joining.join("ray://h:1", {})


@pytest.fixture
def other_program():
    """Listens, and answers whoever comes with what it is told to."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def listen_and_say(answer: bytes) -> str:
            def serve():
                there, _ = listening.accept()
                with there:
                    there.recv(1000)
                    there.sendall(answer)
                    over.wait(60)

            threading.Thread(target=serve, daemon=True).start()
            return f"127.0.0.1:{listening.getsockname()[1]}"

        yield listen_and_say
        over.set()


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
def test_a_port_that_another_program_has_is_told_instead_of_waiting(
    monkeypatch, other_program, answer
):
    monkeypatch.setattr(joining, "ANSWER_S", 0.2)
    monkeypatch.setattr("ray.init", lambda **_: pytest.fail("Ray would try for minutes"))
    with pytest.raises(ConfigError, match="is not Ray: another program has the port; give"):
        joining.join(other_program(answer), {})


def test_a_port_that_nobody_has_is_told_instead_of_waiting(monkeypatch):
    monkeypatch.setattr("ray.init", lambda **_: pytest.fail("Ray would try for minutes"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(ConfigError, match=rf"nothing answers at --address {address} \("):
        joining.join(address, {})
