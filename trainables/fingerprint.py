"""Identity: what is computed, as canonical JSON, hashed.

A stage found under another path, host, device or thread count is the same stage; whatever changes
the numbers must be in the hashed fields.
"""

import hashlib
import json
import math
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from json.encoder import encode_basestring_ascii
from typing import Any

from pydantic import BaseModel

#: Raise by one whenever the same fields would train to other weights than before.
RECIPE_VERSION = 1

_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode


def canonical(value: Any) -> Any:
    """Reduce a value to JSON types with one spelling each.

    Args:
        value: pydantic models (without the fields of their `ADDED_LATER` that hold their
            default), mappings with string keys, sequences, strings, finite numbers, booleans, None.

    Raises:
        TypeError: for anything else; a permissive fallback would fork identities silently.
        ValueError: for NaN and infinities, which have no JSON spelling.
    """
    if value is None or isinstance(value, str | int):  # bool is an int
        return value
    if isinstance(value, BaseModel):
        return {name: canonical(part) for name, part in _identifying(value)}
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) for name in value):
            raise TypeError("only string keys have one canonical spelling")
        return {name: canonical(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} cannot be part of an identity")
    if isinstance(value, float):
        return value
    raise TypeError(f"{type(value).__name__} has no canonical form")


def _identifying(value: BaseModel) -> Iterator[tuple[str, Any]]:
    """The fields of a model by name, but for those added later that still hold their default."""
    for name, added_later, default in _layout(type(value)):
        part = getattr(value, name)
        if not added_later or part != default:
            yield name, part


@cache
def _layout(kind: type[BaseModel]) -> list[tuple[str, bool, Any]]:
    """A model's fields in order of their names: whether each was added later, and its default."""
    added = getattr(kind, "ADDED_LATER", frozenset())
    fields = sorted(kind.model_fields.items())
    return [(n, n in added, field.get_default() if n in added else None) for n, field in fields]


def key_of(value: Any) -> str:
    """Return the sha256 of the canonical JSON of a value, as 64 hexadecimal digits."""
    return _digest(_text(value))


def _text(value: Any) -> str:
    """As `_encode` of the canonical value; short cuts for what there is most of."""
    if value is None:
        return "null"
    if type(value) is str:
        return encode_basestring_ascii(value)
    return str(value) if type(value) is int else _encode(canonical(value))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class SharedText:
    """Keys of models that differ from one in a few fields: the text of the others is made once.

    Args:
        like: a model of the kind.
        varied: names of the fields that are read from each model; the others are `like`'s.
    """

    def __init__(self, like: BaseModel, varied: Collection[str]) -> None:
        self._pieces: list[str | tuple[str, bool, Any]] = []
        self._known: dict[int, tuple[Any, str]] = {}
        for name, added_later, default in _layout(type(like)):
            part = getattr(like, name)
            if name in varied:
                self._pieces.append((name, added_later, default))
            elif not added_later or part != default:
                self._pieces.append(f'"{name}":{_text(part)}')

    def key_of(self, value: BaseModel) -> str:
        """The same as `key_of` of the value."""
        texts = []
        for piece in self._pieces:
            if isinstance(piece, str):
                texts.append(piece)
                continue
            name, added_later, default = piece
            part = getattr(value, name)
            if not added_later or part != default:
                texts.append(f'"{name}":{self._part(part)}')
        return _digest(f"{{{','.join(texts)}}}")

    def _part(self, part: Any) -> str:
        """Parts are told apart by identity, not equality, so that no two texts can be mixed up."""
        if not isinstance(part, BaseModel):
            return _text(part)
        known = self._known.get(id(part))
        if known is None:
            known = self._known[id(part)] = part, _text(part)
        return known[1]


def evaluation_key(stage_key: str, view_key: str) -> str:
    """Key of a later evaluation of a finished stage on one more view."""
    return key_of(["evaluation", stage_key, view_key])


def seed_of(*parts: Any) -> int:
    """Return a 63-bit seed that depends on every part, equal on all machines."""
    return int(key_of(list(parts))[:16], 16) >> 1
