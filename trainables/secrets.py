"""Secrets out of texts that are kept or shown: of addresses, and of the environment."""

import os
import re

HIDDEN = "***"
#: Variables of the environment whose values nobody else may read.
SECRET_NAME = re.compile(r"PASSWORD|PASSWD|SECRET|TOKEN|CREDENTIAL|API_?KEY|ACCESS_?KEY", re.I)
#: Shorter values would hide harmless words.
LEAST_LENGTH = 6
#: Up to the last @ where a colon begins a password: it may hold a slash that nobody has escaped.
_USER_IN_ADDRESS = re.compile(r"(?<=://)(?:[^/\s:]*:\S+|[^/\s]+)(?=@)")
_SECRET_IN_QUERY = re.compile(rf"([?&][^=&\s]*(?:{SECRET_NAME.pattern})[^=&\s]*=)[^&\s]+", re.I)


def hide_secrets(text: str) -> str:
    """The text without user and password of addresses, and without secret values of variables."""
    secrets = {v for n, v in os.environ.items() if SECRET_NAME.search(n) and _is_long(v)}
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return _SECRET_IN_QUERY.sub(rf"\1{HIDDEN}", _USER_IN_ADDRESS.sub(HIDDEN, text))


def has_login(address: str) -> bool:
    """Whether an address carries a user or password; one without a host may have an @ in a path."""
    _, _, place = address.partition("://")
    is_login = "@" in place and not place.startswith("/")
    return is_login or _SECRET_IN_QUERY.search(address) is not None


def _is_long(value: str) -> bool:
    return len(value) >= LEAST_LENGTH
