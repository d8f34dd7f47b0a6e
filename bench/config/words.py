"""The words of a command line, `key=value`: as people type them, and as Hydra reads them."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.config.files import options
from models.errors import BenchError
from models.registry import did_you_mean

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

_CHOSEN_ONE = ("model", "data", "method", "quant", "recipe")
_GROUPS = (*_CHOSEN_ONE, "experiment", "tracking")
# Keys whose value is a text whatever it looks like: a folder may be called `2024` or `epoch=9`.
_TEXTS = (
    *("model.name", "model.weights", "data.root", "data.label", "paths.outputs", "group"),
    *("tracking.project", "tracking.entity", "quant.latency_table"),
)
_PLAIN_TEXT = re.compile(r"(?!(true|false|nan|inf)$)[\w/.-]*[A-Za-z_/][\w/.:-]*", re.ASCII | re.I)
_FLOAT = re.compile(r"[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)([eE][-+]?\d+)?")
_NESTED = re.compile(r"([\w/:]+)\.(\w[\w.]*=.*)", re.DOTALL)
# Of a mapping that is null, to which Hydra adds nothing unasked.
_LIMIT = re.compile(r"quant\.budget\.\w+=", re.ASCII)


def as_hydra_reads(word: str) -> str:
    """Return `key=value` with quotes around a text that Hydra would take for something else.

    Such as a folder with `=`, `#`, brackets or an apostrophe in its name, or one called `2024`.
    What is quoted already stays, and a list of texts is quoted one by one. One limit of the budget
    is set whether there are others or none.
    """
    if _LIMIT.match(word):
        return f"++{word}"
    key, _, value = word.partition("=")
    if key.lstrip("+") not in _TEXTS or value in ("", "null") or _is_text(value):
        return word
    override = parsed(word)
    read = None if override is None else override.value()
    if isinstance(read, str) or (override is not None and _lists_texts(override)):
        return word
    items = value.split(",") if override is None or override.is_sweep_override() else [value]
    return f"{key}={','.join(map(_quoted, items))}"


def text_of(value: str) -> str:
    """Return the text that the value of an override stands for: without quotes around it."""
    if value[:1] not in ("'", '"'):
        return value
    override = parsed(f"key={value}")
    read = None if override is None else override.value()
    return read if isinstance(read, str) else value


def check_words(overrides: Iterable[str], user_configs: Path | None = None) -> None:
    """Raise BenchError for a word that is no override, with what may be meant."""
    for word in overrides:
        if "=" in word or word.startswith("~"):
            continue
        groups = [group for group in _GROUPS if word in options(group, user_configs)]
        hint = f"did you mean {groups[0]}={word}?" if groups else "overrides look like key=value"
        raise BenchError(f"unknown argument {word!r}; {hint}")


def check_options(job: Iterable[str], user_configs: Path | None = None) -> None:
    """Raise BenchError for the option of a group in one `job` that Hydra has no words for."""
    for word in job:
        group, _, value = word.lstrip("+").partition("=")
        if group not in _GROUPS:
            continue
        if value.startswith("[") and group in _CHOSEN_ONE:
            raise BenchError(
                f"{group}=[...] mixes configs; list values with -m and no brackets ({word})"
            )
        if _FLOAT.fullmatch(value) or value.lower() in ("true", "false"):
            names = options(group, user_configs)
            hint = did_you_mean(value, names)
            if group == "quant" and value.isdecimal():
                both = f"w{value}a{value}"
                hint = f"did you mean quant.w_bits={value}" + (
                    f", or quant={both}?" if both in names else "?"
                )
            raise BenchError(f"unknown {group} {value!r}; {hint}")


def check_one_value(overrides: Sequence[str]) -> None:
    """Raise BenchError for a list of values where one cell is asked for."""
    for word in overrides:
        if _is_text(word.partition("=")[2]):
            continue
        override = parsed(word)
        if override is not None and override.is_sweep_override():
            raise BenchError(
                f"{word} lists values for several cells; add -m to measure them all, or put quotes "
                "around a value with a comma"
            )


def unreadable(word: str) -> BenchError:
    """Return what to say of an override that Hydra cannot read."""
    key, _, value = word.partition("=")
    nested = _NESTED.fullmatch(value)
    if key in _GROUPS and nested:
        return BenchError(f"{word!r} is two; did you mean {key}={nested[1]} {key}.{nested[2]}?")
    return BenchError(
        f"{word!r} cannot be read; put quotes around a value with special characters, and around "
        f"those the shell's own: '{key}=\"{value}\"'"
    )


def _is_text(value: str) -> bool:
    """Return whether Hydra takes `value` for a text as it is, without asking its slow parser."""
    return bool(_PLAIN_TEXT.fullmatch(value)) and not _FLOAT.fullmatch(value)


def _lists_texts(override: "Override") -> bool:
    """Return whether it is a list of texts, or a function of Hydra's such as choice()."""
    from hydra.core.override_parser.types import ChoiceSweep, QuotedString

    if not override.is_sweep_override():
        return False
    values = override.value()
    if not isinstance(values, ChoiceSweep) or not values.simple_form:
        return True
    return all(isinstance(value, str | QuotedString) for value in values.list)


def _quoted(text: str) -> str:
    from hydra.core.override_parser.types import Quote, QuotedString

    return QuotedString(text=text, quote=Quote.double).with_quotes()


def parsed(word: str, user_configs: Path | None = None) -> "Override | None":
    """Return what Hydra's parser makes of an override, None where it cannot read it.

    glob() lists options of the shipped groups and of those in `user_configs`.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        loader: Any = _Options(user_configs)
        (override,) = OverridesParser.create(loader).parse_overrides([word])
    except HydraException:
        return None
    return override


class _Options(NamedTuple):
    """What Hydra's parser asks of a config loader."""

    user_configs: Path | None

    def get_group_options(self, group: str, results_filter: object = None) -> list[str]:
        return sorted(options(group, self.user_configs))
