"""Keys, tokens and passwords do not go where results are shown to others."""

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

HIDDEN = "(not shown)"

_SECRET = r"(?:api|access|private|secret)[_-]?key|token|secret|passw(?:or)?d|credential"
_NAME = re.compile(_SECRET, re.IGNORECASE)
_ENVIRONMENT_NAME = re.compile(rf"{_SECRET}|_key$", re.IGNORECASE)
_SHORTEST = 8  # a shorter value would be found in words that are no secret
_TEXT = re.compile(
    rf"(?P<name>(?i:{_SECRET})\w*[\"']?\s*[=:]\s*)(?:Bearer\s+)?[^\s,;}}\]]+"
    r"|(?P<url>\w://)[^\s/@]+@"
    r"|\b(?:wandb_v\d_\w+|hf_\w{20,}|gh[opsu]_\w{20,}|sk-[\w-]{20,}|AKIA[0-9A-Z]{16})",
)


def environment_secrets(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return the values of the variables whose names say that they are secret."""
    named = (value for name, value in environment.items() if _ENVIRONMENT_NAME.search(name))
    return [value for value in named if len(value) >= _SHORTEST]


def redact(value: Any, secrets: Iterable[str] = ()) -> Any:
    """Return a JSON `value` without what looks like a secret, and without any of `secrets`.

    A value whose key names a secret is hidden whole; in texts, what follows such a name, the user
    of an address, and keys of known forms are.
    """
    secrets = tuple(secrets)
    if isinstance(value, Mapping):
        return {
            _redacted(str(k), secrets): HIDDEN
            if _NAME.search(str(k)) and v is not None
            else redact(v, secrets)
            for k, v in value.items()
        }
    if isinstance(value, list | tuple):
        return [redact(item, secrets) for item in value]
    return _redacted(value, secrets) if isinstance(value, str) else value


def _redacted(text: str, secrets: tuple[str, ...]) -> str:
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    return _TEXT.sub(lambda m: (m["name"] or m["url"] or "") + HIDDEN, text)
