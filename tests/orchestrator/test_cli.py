"""What every verb prints when something is wrong."""

from orchestrator.cli import main


def test_s11_a_message_cannot_control_the_terminal(capsys):
    assert main(["run", "\x1b[2J\x07\udcff"]) == 2
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert r"\x1b[2J\x07\udcff" in printed


def test_what_is_printed_keeps_its_colons(capsys):
    assert main(["a:car:b"]) == 2
    assert "f2c has no verb a:car:b" in capsys.readouterr().out
