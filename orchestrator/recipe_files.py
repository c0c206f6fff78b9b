"""Recipes as YAML files: found by name, read, checked; all faults at once, with their line."""

import difflib
import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_origin

import yaml
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from orchestrator.recipe import Recipe
from trainables.errors import ConfigError
from trainables.spec import Spec

RECIPES = Path(__file__).parent / "recipes"
#: In a run's folder.
RECORDED = "recipe.yaml"
MAX_RECIPE_BYTES = 1_000_000


class _Loader(yaml.SafeLoader):
    """Safe YAML by the rules of YAML 1.2: `1e-3` is a number, `no` and `08` are text."""

    yaml_implicit_resolvers = {}


_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), ["t", "f"])
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:null", re.compile(r"^(?:null|~|)$"), ["n", "~", ""]
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$"),
    list("-+.0123456789"),
)


def shipped() -> list[str]:
    """Names of the recipes that come with the program."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def recipe_path(name: str, root: Path = Path("runs")) -> Path:
    """A shipped recipe, a YAML file, what the run in a folder or of a name under a root recorded.

    Raises:
        ConfigError: when it is none of them.
    """
    if name in shipped():
        return RECIPES / f"{name}.yaml"
    for path in (Path(name), Path(name) / RECORDED, root / name / RECORDED):
        if path.is_file():
            return path
    if Path(name).is_dir():
        raise ConfigError(f"{name} is a folder without {RECORDED}, so no run's; name a recipe")
    if "/" in name or name.endswith((".yaml", ".yml")):
        raise ConfigError(f"there is no file {name}")
    runs = [file.parent.name for file in sorted(root.glob(f"*/{RECORDED}"))]
    near = difflib.get_close_matches(name, [*shipped(), *runs], n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise ConfigError(
        f"no recipe named {name}: {hint}shipped are {', '.join(shipped())}; or give the path of a "
        f"YAML file, or the name of a run in {root}"
    )


def root_of_run(name: str) -> Path | None:
    """The root of a run that is named by its folder; None of what is named in another way."""
    if name in shipped() or not (Path(name) / RECORDED).is_file():
        return None
    return Path(os.path.normpath(Path(name).absolute())).parent


def load_recipe(name: str, root: Path = Path("runs")) -> Recipe:
    """Read and check a recipe.

    Args:
        name: see `recipe_path`.
        root: whose runs may be named.

    Raises:
        ConfigError: with every fault, its line and what was perhaps meant.
    """
    path = recipe_path(name, root)
    if path.stat().st_size > MAX_RECIPE_BYTES:
        raise ConfigError(f"{path} is larger than {MAX_RECIPE_BYTES} bytes; is it a recipe?")
    return parse_recipe(path.read_text(encoding="utf-8"), path.name)


def parse_recipe(text: str, source: str) -> Recipe:
    """Check the text of a recipe; `source` names it in messages."""
    node, raw = _mapping(text, source)
    lines: dict[tuple[str | int, ...], int] = {}
    faults = _walk(node, (), lines)
    try:
        recipe = Recipe.model_validate_json(json.dumps(raw))
        if not faults:
            return recipe
    except ValidationError as error:
        faults += [(_line(lines, e["loc"]), fault_in_words(e)) for e in error.errors()]
    except (TypeError, ValueError) as error:
        faults.append((1, str(error)))
    raise ConfigError(
        faults_text("recipe", [f"{source}:{line}: {fault}" for line, fault in sorted(faults)])
    )


def faults_text(what: str, faults: Sequence[str]) -> str:
    """All that is wrong with a recipe or its flags, in one message."""
    shown = "\n".join(f"  {fault}" for fault in faults)
    return f"{len(faults)} fault{'s'[: len(faults) > 1]} in the {what}\n{shown}"


def _mapping(text: str, source: str) -> tuple[yaml.Node, dict[Any, Any]]:
    """A recipe's text as nodes, which know their lines, and as values."""
    try:
        node = yaml.compose(text, Loader=_Loader)
        events = yaml.parse(text, Loader=_Loader)
        aliased = any(isinstance(event, yaml.AliasEvent) for event in events)
        raw = None if node is None or aliased else _Loader("").construct_document(node)
    except yaml.YAMLError as error:
        raise ConfigError(f"{source} is not valid YAML: {error}") from None
    except Exception as error:  # a tag such as `!!int x` fails as Python's own conversion does
        raise ConfigError(f"{source} cannot be read: {type(error).__name__}: {error}") from None
    if aliased:
        raise ConfigError(f"{source}: aliases (*name) are not allowed in a recipe")
    if node is None:
        return _mapping("{}", source)
    if not isinstance(raw, dict):
        raise ConfigError(f"{source} must be a mapping of fields, such as `name: my-run`")
    return node, raw


def _walk(
    node: yaml.Node, place: tuple[str | int, ...], lines: dict[tuple[str | int, ...], int]
) -> list[tuple[int, str]]:
    """Note the line of every field; return duplicated keys, which YAML would silently merge."""
    faults = []
    lines[place] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*place, key.value)
            if here in lines:
                dotted = ".".join(map(str, here))
                faults.append((key.start_mark.line + 1, f"{dotted}: given twice"))
            faults += _walk(value, here, lines)
            lines[here] = key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            faults += _walk(value, (*place, number), lines)
    return faults


def _line(lines: dict[tuple[str | int, ...], int], place: tuple[str | int, ...]) -> int:
    while place and place not in lines:
        place = place[:-1]
    return lines.get(place, 1)


def fault_in_words(error: Any) -> str:
    """One of the errors of pydantic's `ValidationError`: where it is and what is wrong."""
    place = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{place}: unknown field{_did_you_mean(error['loc'])}"
    if error["type"] == "missing":
        return f"{place}: missing"
    given = error.get("input")
    shown = "" if isinstance(given, dict) else f" (given: {given!r})"
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{place}: {message}{shown}" if place else message


def _did_you_mean(place: Sequence[str | int]) -> str:
    fields = field_names(Recipe, [str(part) for part in place[:-1]])
    near = difflib.get_close_matches(str(place[-1]), fields, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else f"; known are {', '.join(fields)}"


def field_names(model: type[Spec], place: Sequence[str]) -> list[str]:
    """Fields that a recipe may set at a place such as ("train", "later")."""
    for part in place:
        field = model.model_fields.get(part)
        nested = None if field is None else _nested(field)
        if nested is None:
            return []
        model = nested
    return list(model.model_fields)


def all_fields(model: type[Spec], above: str = "") -> Iterator[str]:
    """Every field that a flag can set, by its dotted name, such as `train.later.lr`."""
    for name, field in model.model_fields.items():
        nested = None if get_origin(field.annotation) is dict else _nested(field)
        if nested is None:
            yield f"{above}{name}"
        else:
            yield from all_fields(nested, f"{above}{name}.")


def _nested(field: FieldInfo) -> type[Spec] | None:
    kinds = [field.annotation, *getattr(field.annotation, "__args__", ())]
    return next((k for k in kinds if isinstance(k, type) and issubclass(k, Spec)), None)


def default_recipe() -> str:
    """What runs when no recipe is named: `F2C_RECIPE`, which cluster.yaml sets, else the demo."""
    return os.environ.get("F2C_RECIPE", "demo")
