"""Command line -> recipe with its overrides, and how to run it."""

import argparse
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from orchestrator.cluster import Machine, check_place, local_gpus, settled
from orchestrator.recipe import Recipe
from orchestrator.recipe_files import default_recipe, load_recipe, root_of_run
from trainables.bucket import is_bucket, local_root
from trainables.errors import ConfigError

DEFAULT_ROOT = "runs"


def leading_words(arguments: Sequence[str]) -> list[str]:
    """The words before the first flag."""
    words = []
    for word in arguments:
        if word.startswith("-"):
            break
        words.append(word)
    return words


def standing_flags() -> list[str]:
    """Flags of every command on this machine: `F2C_FLAGS`, split as a shell would.

    Raises:
        ConfigError: for an unclosed quote.
    """
    try:
        return shlex.split(os.environ.get("F2C_FLAGS", ""))
    except ValueError as error:
        raise ConfigError(f"F2C_FLAGS is not a list of flags: {error}") from None


def parse(name: str | None, flags: Sequence[str]) -> tuple[Recipe, Machine]:
    """Load a recipe and apply flags such as `--train.epochs 3`.

    Args:
        name: shipped name, path, name or folder of a run; None takes `F2C_RECIPE`, else the demo.
            A run's folder brings its root along.
        flags: any field of the recipe, and those of `Machine`; after those of `F2C_FLAGS`, which
            cluster.yaml sets on the head.

    Raises:
        ConfigError: for what the recipe refuses.
        SystemExit: status 2 for unknown flags and wrong types, 0 after `--help`.
    """
    name = name or default_recipe()
    own_root = root_of_run(name)
    implied = [] if own_root is None else ["--root", str(own_root)]
    given = [*standing_flags(), *implied, *flags]
    default = load_recipe(name, _root_of(given))

    def both(  # noqa: PLR0913, PLR0917 - one a flag
        recipe: Annotated[Recipe, tyro.conf.arg(name="")] = default,
        root: str = DEFAULT_ROOT,
        executor: Literal["ray", "inline"] = "ray",
        address: str = "local",
        cpus_per_stage: int = 1,
        gpus_per_stage: float | None = None,
        data_cpus_per_stage: int = 1,
        tracking_uri: str | None = None,
    ) -> Any:
        gpus = gpus_per_stage
        if gpus is None:
            gpus = 1.0 if address == "local" and local_gpus() else 0.0
        place = local_root(root), executor, address, cpus_per_stage, gpus, tracking_uri
        copy_of = root if is_bucket(root) else None
        return recipe, Machine(*place, copy_of, _data_cpus(recipe, executor, data_cpus_per_stage))

    try:
        recipe, machine = tyro.cli(
            both, args=given, prog="f2c", config=(tyro.conf.AvoidSubcommands,)
        )
        checked = Recipe.model_validate_json(recipe.model_dump_json())
    except ValueError as error:
        raise ConfigError(str(error)) from None
    check_place(machine.root)
    return settled(checked, machine), machine


def _root_of(flags: Sequence[str]) -> Path:
    """Where runs are that may be named, before the flags can be read as a recipe's."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--root", default=DEFAULT_ROOT, nargs="?")
    root = parser.parse_known_args(list(flags))[0].root
    return Path(local_root(root or DEFAULT_ROOT))


def _data_cpus(recipe: Recipe, executor: str, n_cpus: int) -> int:
    """CPUs that each stage gets for its photos: none where they are prepared, or read by itself."""
    if not recipe.streams or executor == "inline":
        return 0
    if n_cpus < 1:
        raise ConfigError(
            "--data-cpus-per-stage is at least 1 with data.mode: stream: photos that no CPU reads "
            "would be waited for for ever"
        )
    return n_cpus
