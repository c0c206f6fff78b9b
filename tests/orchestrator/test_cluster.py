import errno
import os
import stat
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from orchestrator import cli, cluster
from orchestrator.cli import main
from orchestrator.cluster import (
    Machine,
    bfloat16_pays,
    check_local_machine,
    make_root,
    ray_session,
    settled,
)
from orchestrator.growth import Node
from orchestrator.recipe import Recipe
from trainables.errors import BusyError, ConfigError

CPU = Machine(Path())


@pytest.mark.parametrize(
    ("flags", "pays"),
    [
        ("fpu avx2 f16c", False),
        ("fpu avx512f avx512_bf16", True),
        ("Features : fp asimd bf16", True),
    ],
)
def test_a_cpu_computes_in_bfloat16_only_with_instructions_for_it(tmp_path, flags, pays):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor : 0\nflags : {flags}\n")
    assert bfloat16_pays(CPU, cpuinfo) is pays


def test_a_gpu_computes_in_bfloat16_and_an_unknown_cpu_in_float32(tmp_path):
    assert bfloat16_pays(Machine(Path(), gpus_per_stage=0.5), tmp_path / "none")
    assert not bfloat16_pays(CPU, tmp_path / "none")


def test_a_recipe_that_names_its_precision_keeps_it_on_every_machine():
    for precision in ("bfloat16", "float32"):
        recipe = Recipe.model_validate({"name": "x", "train": {"precision": precision}})
        assert settled(recipe, Machine(Path(), gpus_per_stage=1.0)) == recipe
        assert settled(recipe, CPU) == recipe


def test_auto_is_settled_before_anything_is_planned():
    recipe = Recipe(name="x")
    assert settled(recipe, Machine(Path(), gpus_per_stage=1.0)).train.precision == "bfloat16"
    assert settled(recipe, CPU).train.precision in ("bfloat16", "float32")


@pytest.mark.parametrize("address", ["local", "auto"])
@pytest.mark.parametrize("share", [-0.5, 1.5, 2, float("nan"), float("inf")])
def test_a_stage_that_asks_for_more_than_the_one_gpu_it_trains_on_is_refused(
    monkeypatch, address, share
):
    monkeypatch.setattr(cluster, "local_gpus", lambda: 4)
    with pytest.raises(ConfigError, match="--gpus-per-stage a share of one GPU, from 0 to 1"):
        check_local_machine(Machine(Path(), address=address, gpus_per_stage=share))


def test_the_inline_executor_is_held_to_this_machine_whatever_the_address(monkeypatch):
    monkeypatch.setattr(cluster, "local_gpus", lambda: 0)
    with pytest.raises(ConfigError, match="this machine has 0; use --gpus-per-stage 0"):
        check_local_machine(Machine(Path(), "inline", "auto", gpus_per_stage=1.0))


class SlowRay:
    """Stands for Ray on a busy machine: starts at the given attempt."""

    def __init__(self, starts_at):
        self.attempts, self._starts_at = 0, starts_at

    def init(self, **_options):
        self.attempts += 1
        if self.attempts < self._starts_at:
            raise Exception("The current node timed out during startup.")  # noqa: TRY002

    def is_initialized(self):
        return False

    def shutdown(self):
        pass


def test_ray_that_is_slow_to_start_is_asked_twice_then_told_in_one_sentence(monkeypatch):
    monkeypatch.setattr(cluster, "cluster_nodes", lambda **_: [Node(2, 0)])
    slow = SlowRay(starts_at=2)
    monkeypatch.setitem(sys.modules, "ray", slow)
    monkeypatch.setattr(cluster, "lean_head", nullcontext)
    with ray_session(CPU) as slots:
        assert (slow.attempts, slots) == (2, 2)
    monkeypatch.setitem(sys.modules, "ray", SlowRay(starts_at=9))
    with pytest.raises(BusyError, match="too busy; run the same command again"), ray_session(CPU):
        pass


def test_r06_s15_our_ray_is_private_local_and_without_a_dashboard(monkeypatch, tmp_path):
    given = {}

    class RecordingRay(SlowRay):
        def init(self, **options):
            given.update(options)

    monkeypatch.setenv("HOME", str(tmp_path))
    token = tmp_path / ".ray" / "auth_token"
    token.parent.mkdir()
    token.touch(mode=0o644)
    monkeypatch.setitem(sys.modules, "ray", RecordingRay(starts_at=1))
    monkeypatch.setattr(cluster, "lean_head", nullcontext)
    monkeypatch.setattr(cluster, "cluster_nodes", lambda **_: [Node(2, 0)])
    with ray_session(CPU):
        temporary = Path(given["_temp_dir"])
        assert stat.S_IMODE(temporary.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert given["address"] == "local"
    assert given["include_dashboard"] is False
    assert not temporary.parent.exists()


def test_s20_a_new_root_is_its_owners_alone_and_an_old_one_keeps_its_mode(tmp_path):
    before = os.umask(0)
    try:
        make_root(tmp_path / "new" / "runs")
        (tmp_path / "shared").mkdir(mode=0o770)
        make_root(tmp_path / "shared")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new" / "runs").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "shared").stat().st_mode) == 0o770


def test_f04_a_root_that_cannot_be_written_is_refused_before_anything_else(tmp_path, capsys):
    (tmp_path / "file").touch()
    root = tmp_path / "file" / "runs"
    assert main(["run", "demo", "--root", str(root), "--gpus-per-stage", "0"]) == 2
    assert f"--root {root} cannot be written" in capsys.readouterr().out.replace("\n", " ")


@pytest.mark.parametrize(
    "command",
    [
        ["report", "demo"],
        ["sync", "demo"],
        ["heatmap", "demo", "--images", "12"],
        ["gc", "--delete"],
        ["prepare", "demo"],
        ["run", "demo", "--gpus-per-stage", "0"],
    ],
    ids=lambda command: command[0],
)
def test_f04_a_root_that_is_read_only_is_refused_before_anything_is_computed(
    command, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(cluster.tempfile, "TemporaryFile", refuse)
    assert main([*command, "--root", str(tmp_path)]) == 2
    printed = capsys.readouterr().out.replace("\n", " ")
    assert f"--root {tmp_path} cannot be written (Read-only file system)" in printed


def refuse(**_options):
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


@pytest.mark.parametrize("verb", ["plan", "status", "run", "report"])
def test_f04_a_root_that_is_a_file_or_below_one_is_refused_by_every_verb(verb, tmp_path, capsys):
    (tmp_path / "file").touch()
    for root in (tmp_path / "file", tmp_path / "file" / "runs"):
        assert main([verb, "demo", "--root", str(root)]) == 2
        printed = capsys.readouterr().out.replace("\n", " ")
        assert f"--root {root} cannot be written ({tmp_path / 'file'} is a file)" in printed


def test_f04_a_file_that_may_not_be_written_is_named_without_a_traceback(monkeypatch, capsys):
    def write(*_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/shared/report.html")

    monkeypatch.setitem(cli._VERBS, "report", write)
    assert main(["report", "demo"]) == 2
    assert capsys.readouterr().out.startswith("/shared/report.html: Permission denied; name")


def test_f04_a_file_system_that_is_read_only_is_refused(tmp_path):
    mount = ["mount", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a tmpfs needs root")
    try:
        with pytest.raises(ConfigError, match="Read-only file system"):
            make_root(tmp_path)
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)
