"""What the project says of servers, clusters and packages that others can reach."""

import re
import shutil
import subprocess
import sys
import zipfile
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[1]
PACKAGES = ("trainables", "orchestrator", "analysis")
TEXTS = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md")]


def test_s17_every_documented_mlflow_server_is_local_or_asks_who_comes():
    lines = [line for text in TEXTS for line in text.read_text().splitlines()]
    servers = [line for line in lines if re.search(r"mlflow (server|ui)\b", line)]
    assert servers
    for line in servers:
        assert "--disable-security-middleware" not in line
        open_to_all = "0.0.0.0" in line or re.search(r"--host (?!127\.0\.0\.1|localhost)", line)
        assert not open_to_all or ("basic-auth" in line and "--allowed-hosts" in line)


def test_s19_every_package_of_the_lock_has_its_hashes():
    text = (REPOSITORY / "requirements.lock").read_text()
    joined = text.replace("\\\n", " ")
    pinned = [line for line in joined.splitlines() if re.match(r"[A-Za-z0-9].*==", line)]
    assert len(pinned) > 50
    assert [line.split()[0] for line in pinned if "--hash=sha256:" not in line] == []
    assert "--require-hashes" in (REPOSITORY / "Makefile").read_text()


def test_s16_the_cluster_file_opens_nothing_to_the_world():
    file = REPOSITORY / "cluster.yaml"
    if not file.exists():
        pytest.skip("there is no cluster.yaml yet")
    text = file.read_text()
    assert isinstance(yaml.safe_load(text), dict)
    told = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    assert "dashboard-host=0.0.0.0" not in told
    assert "0.0.0.0/0" not in told
    assert not re.search(r"AKIA[0-9A-Z]{16}|aws_secret_access_key|BEGIN .*PRIVATE KEY", told)


def test_setup_makes_a_virtual_environment_anew_that_was_left_without_pip(tmp_path):
    """As `python3 -m venv` leaves it on Debian without python3-venv, which is then installed."""
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, tmp_path)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / ".venv"], check=True)
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$@" >> called\n')
    python.chmod(0o755)
    command = ["make", "setup", "PYTHON=./python"]
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert "-m venv .venv" in (tmp_path / "called").read_text()


def test_a_wheel_holds_every_file_of_the_packages_and_says_that_they_are_typed(tmp_path):
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, tmp_path)
    skipped = shutil.ignore_patterns("__pycache__")
    for name in PACKAGES:
        shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=skipped)
    build = "import setuptools.build_meta as s; print(s.build_wheel('.'))"
    command = [sys.executable, "-c", build]
    printed = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True, text=True)
    held = {*zipfile.ZipFile(tmp_path / printed.stdout.split()[-1]).namelist()}
    files = [file for name in PACKAGES for file in (tmp_path / name).rglob("*") if file.is_file()]
    assert {str(file.relative_to(tmp_path)) for file in files} <= held
    assert {f"{name}/py.typed" for name in PACKAGES} <= held


def instructions() -> list[list[str]]:
    """Words of each instruction of the Dockerfile."""
    text = (REPOSITORY / "Dockerfile").read_text().replace("\\\n", " ")
    return [line.split() for line in text.splitlines() if line and not line.startswith("#")]


def kept_by_dockerignore(path: str) -> bool:
    """By its rules as this project writes them: all but what is named after an exclamation mark."""
    first, *rules = (REPOSITORY / ".dockerignore").read_text().split()
    assert first == "*"
    kept = [rule[1:] for rule in rules if rule.startswith("!")]
    return any(fnmatch(path, rule) or path.startswith(f"{rule}/") for rule in kept)


def test_the_dockerfile_copies_what_is_there_and_what_its_setup_reads():
    known = {"FROM", "RUN", "USER", "WORKDIR", "COPY", "ENV", "CMD"}
    assert {words[0] for words in instructions()} <= known
    copied = []
    for words in instructions():
        if words[0] == "COPY":
            copied += [word for word in words[1:-1] if not word.startswith("--")]
    assert [path for path in copied if not (REPOSITORY / path).exists()] == []
    assert [path for path in copied if not kept_by_dockerignore(path)] == []
    setup = ("requirements.lock", "docs/cluster/uv.txt", "docs/cluster/set_up_node.sh")
    assert {*PACKAGES, *setup, "pyproject.toml", "README.md", "LICENSE"} <= set(copied)


def test_shell_scripts_that_are_shipped_parse():
    scripts = [*REPOSITORY.glob("docs/**/*.sh")]
    assert scripts
    for script in scripts:
        subprocess.run(["bash", "-n", script], check=True)
