"""Command line -> recipe with its overrides, and how to run it."""

import argparse
import difflib
import os
import shlex
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import tyro
from pydantic import TypeAdapter, ValidationError
from tyro.constructors import (
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    PrimitiveTypeInfo,
    StructConstructorSpec,
    StructFieldSpec,
    StructTypeInfo,
)

from orchestrator.cluster import Machine, check_place, local_gpus, settled
from orchestrator.recipe import Recipe
from orchestrator.recipe_files import (
    all_fields,
    default_recipe,
    fault_in_words,
    faults_text,
    load_recipe,
    root_of_run,
)
from trainables.bucket import is_bucket, local_root
from trainables.errors import ConfigError
from trainables.secrets import has_login
from trainables.spec import Spec

DEFAULT_ROOT = "runs"


def leading_words(arguments: Sequence[str]) -> list[str]:
    """The words before the first flag."""
    words = []
    for word in arguments:
        if word.startswith("-"):
            break
        words.append(word)
    return words


def with_recipe(arguments: Sequence[str]) -> list[str]:
    """The same command line with the default recipe's name where none is given."""
    return [*([] if leading_words(arguments) else [default_recipe()]), *arguments]


def standing_flags() -> list[str]:
    """Flags of every command on this machine: `F2C_FLAGS`, split as a shell would.

    Raises:
        ConfigError: for an unclosed quote.
    """
    try:
        return shlex.split(os.environ.get("F2C_FLAGS", ""))
    except ValueError as error:
        raise ConfigError(f"F2C_FLAGS is not a list of flags: {error}") from None


def parse_one(arguments: Sequence[str]) -> tuple[Recipe, Machine]:
    """What `parse` makes of a command line with one recipe, or none.

    Raises:
        ConfigError: for a second word, and as `parse` does.
    """
    words = leading_words(arguments)
    if len(words) > 1:
        raise ConfigError(f"one recipe at a time: {', '.join(words)} are {len(words)}")
    return parse(words[0] if words else None, arguments[len(words) :])


@dataclass(frozen=True)
class _Flags:
    """Any field of a recipe is a flag; beside them, these say where and how it is run.

    Attributes:
        recipe: what is run.
        root: folder of runs, stages and prepared photos; or a bucket, as s3://BUCKET/FOLDER.
        executor: ray runs stages side by side, inline one after another in this process.
        address: local starts a Ray of its own; auto or HOST:PORT joins one that runs.
        cpus_per_stage: CPUs that each stage gets; as many stages run as fit.
        gpus_per_stage: share of a GPU that each stage gets, such as 0.5; left out, one where this
            machine has any.
        data_cpus_per_stage: CPUs that read the photos of each stage (data.mode: stream).
        tracking_uri: of an MLflow server; left out, a database under the root.
    """

    recipe: Annotated[Recipe, tyro.conf.arg(name="")]
    root: str = DEFAULT_ROOT
    executor: Literal["ray", "inline"] = "ray"
    address: str = "local"
    cpus_per_stage: int = 1
    gpus_per_stage: float | None = None
    data_cpus_per_stage: int = 1
    tracking_uri: str | None = None


def parse(name: str | None, flags: Sequence[str]) -> tuple[Recipe, Machine]:
    """Load a recipe and apply flags such as `--train.epochs 3`.

    Args:
        name: shipped name, path, name or folder of a run; None takes `F2C_RECIPE`, else the demo.
            A run's folder brings its root along.
        flags: any field of the recipe, and those of `Machine`; after those of `F2C_FLAGS`, which
            cluster.yaml sets on the head.

    Raises:
        ConfigError: for unknown flags and for what the recipe refuses, all of it at once; and for a
            password in an address.
        SystemExit: status 2 for a flag without its value, 0 after `--help`.
    """
    name = name or default_recipe()
    own_root = root_of_run(name)
    implied = [] if own_root is None else ["--root", str(own_root)]
    given = [*standing_flags(), *implied, *flags]
    default = _Flags(load_recipe(name, Path(local_root(root_of(given)))))
    found, rest = tyro.cli(
        _Flags,
        args=given,
        default=default,
        prog="f2c",
        config=(tyro.conf.AvoidSubcommands,),
        registry=_UNCHECKED,
        return_unknown_args=True,
    )
    checked = _checked(found, rest)
    recipe, machine = checked.recipe, _machine(checked)
    check_place(machine.root)
    if machine.tracking_uri is not None:
        check_tracking_uri(machine.tracking_uri)
    return settled(recipe, machine), machine


def check_tracking_uri(uri: str) -> None:
    """Refuse an address of MLflow that would be written into logs, runs and reports.

    Raises:
        ConfigError: when it carries a user or password.
    """
    if has_login(uri):
        raise ConfigError(
            "--tracking-uri (MLFLOW_TRACKING_URI) carries a user or password; set "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead, and write an @ that "
            "is part of a path as %40"
        )


_UNCHECKED = ConstructorRegistry()


@_UNCHECKED.struct_rule
def _as_given(info: StructTypeInfo) -> StructConstructorSpec | None:
    """Parts of a recipe as the flags have them: what is wrong is told at once, in `_checked`."""
    kind = info.type
    if not (isinstance(kind, type) and issubclass(kind, Spec)):
        return None
    default = info.default if isinstance(info.default, kind) else None
    parts = []
    for name, field in kind.model_fields.items():
        plain = tyro.MISSING if field.is_required() else field.get_default()
        value = plain if default is None else getattr(default, name)
        parts.append(
            StructFieldSpec(name, cast("Any", field.annotation), value, helptext=field.description)
        )

    def make(**values: Any) -> Spec:
        return kind.model_construct(**values)

    make.__doc__ = kind.__doc__  # what `--help` says of the flags together
    return StructConstructorSpec(make, tuple(parts))


_looking = ContextVar("whether tyro's own rules are asked", default=False)


@_UNCHECKED.primitive_rule
def _or_text(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """Values as tyro reads them; what it cannot read stays text, for `_checked` to tell."""
    if _looking.get():
        return None
    token = _looking.set(True)
    try:
        spec = ConstructorRegistry.get_primitive_spec(info)
    finally:
        _looking.reset(token)
    if not isinstance(spec, PrimitiveConstructorSpec):
        return None

    def read(words: list[str]) -> Any:
        try:
            return spec.instance_from_str(words)
        except ValueError:
            if spec.nargs != "*":
                return words[0] if spec.nargs == 1 else words
            return words if len(words) == 1 else [value for w in words for value in read([w])]

    return replace(spec, instance_from_str=read, choices=None)


def _checked(found: _Flags, rest: Sequence[str]) -> _Flags:
    """The flags, once nothing is wrong with the recipe and all were understood."""
    flags = [word for word in rest if word.startswith("--")]
    faults = [f"{flag}: unknown flag{_near(flag)}" for flag in flags]
    if rest and not flags:
        faults = [f"{word}: belongs to no flag" for word in rest]
    given = TypeAdapter(_Flags)
    try:
        checked = given.validate_json(given.dump_json(found, warnings=False), strict=True)
    except ValidationError as error:
        faults += [_in_words(one) for one in error.errors()]
    else:
        if not faults:
            return checked
    raise ConfigError(faults_text("flags", faults))


def _in_words(error: Any) -> str:
    place = [part for part in error["loc"] if part != "recipe"]
    return fault_in_words(error | {"loc": place})


def _near(flag: str) -> str:
    known = [*(field.name for field in fields(_Flags)), *all_fields(Recipe)]
    place = flag.removeprefix("--").partition("=")[0].replace("-", "_")
    ends = [name for name in known if name.endswith(f".{place}")]
    near = ends or difflib.get_close_matches(place, known, n=1)
    shown = " or ".join(f"--{name.replace('_', '-')}" for name in near)
    return f"; did you mean {shown}?" if near else ""


def _machine(flags: _Flags) -> Machine:
    n_gpus = flags.gpus_per_stage
    if n_gpus is None:
        n_gpus = 1.0 if flags.address == "local" and local_gpus() else 0.0
    return Machine(
        local_root(flags.root),
        flags.executor,
        flags.address,
        flags.cpus_per_stage,
        n_gpus,
        flags.tracking_uri,
        flags.root if is_bucket(flags.root) else None,
        _data_cpus(flags.recipe, flags.executor, flags.data_cpus_per_stage),
    )


def root_of(flags: Sequence[str]) -> str:
    """The root that flags name, or the usual one; the other flags may be anything."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--root", default=DEFAULT_ROOT, nargs="?")
    return parser.parse_known_args(list(flags))[0].root or DEFAULT_ROOT


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
