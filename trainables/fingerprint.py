"""Identity: what is computed, as canonical JSON, hashed.

A stage found under another path, host, device or thread count is the same stage; whatever changes
the numbers must be in the hashed fields.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

#: Raise by one whenever the same fields would train to other weights than before.
RECIPE_VERSION = 1


def canonical(value: Any) -> Any:
    """Reduce a value to JSON types with one spelling each.

    Args:
        value: pydantic models (without the fields of their `ADDED_LATER` that hold their
            default), mappings with string keys, sequences, strings, finite numbers, booleans, None.

    Raises:
        TypeError: for anything else; a permissive fallback would fork identities silently.
        ValueError: for NaN and infinities, which have no JSON spelling.
    """
    if isinstance(value, BaseModel):
        return {name: canonical(getattr(value, name)) for name in _identifying(value)}
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) for name in value):
            raise TypeError("only string keys have one canonical spelling")
        return {name: canonical(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} cannot be part of an identity")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{type(value).__name__} has no canonical form")


def _identifying(value: BaseModel) -> list[str]:
    """The fields of a model, but for those added later that still hold their default."""
    added = getattr(type(value), "ADDED_LATER", frozenset())
    fields = type(value).model_fields
    return [n for n in fields if n not in added or getattr(value, n) != fields[n].get_default()]


def key_of(value: Any) -> str:
    """Return the sha256 of the canonical JSON of a value, as 64 hexadecimal digits."""
    text = json.dumps(canonical(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def evaluation_key(stage_key: str, view_key: str) -> str:
    """Key of a later evaluation of a finished stage on one more view."""
    return key_of(["evaluation", stage_key, view_key])


def seed_of(*parts: Any) -> int:
    """Return a 63-bit seed that depends on every part, equal on all machines."""
    return int(key_of(list(parts))[:16], 16) >> 1
