"""Methods and networks of a user's own, as if they had a config file in `conf/`."""

from collections.abc import Sequence
from dataclasses import MISSING, fields
from typing import Any

from hydra.core.config_store import ConfigStore

from methods.registry import METHODS, method_class
from models.errors import BenchError
from models.zoo import TIMM


def register_own(overrides: Sequence[str]) -> None:
    """Make options of what no config file is for, where `overrides` may name it.

    These are every installed method, `method=module:Class`, `model=module:function` and
    `model=timm/NAME`. The config of a method is its parameters at their defaults.

    Raises BenchError when a method cannot be imported.
    """
    store = ConfigStore.instance()
    for name in [*METHODS.installed(), *_named(overrides, "method", ":")]:
        store.store(group="method", name=name, node=default_config(name))
    for name in _named(overrides, "model", ":"):  # whose function returns it with its weights
        store.store(group="model", name=name, node={"name": name, "weights": "none"})
    for name in _named(overrides, "model", TIMM):
        node = {"name": name, "weights": "default"}
        store.store(group="model/timm", name=name.removeprefix(TIMM), node=node)


def default_config(name: str) -> dict[str, Any]:
    """Return the config of the method called `name`: its parameters at their defaults.

    Raises BenchError for a parameter without one.
    """
    config: dict[str, Any] = {"name": name}
    for field in fields(method_class(name)):
        if field.default_factory is not MISSING:
            config[field.name] = field.default_factory()
        elif field.default is not MISSING:
            config[field.name] = field.default
        else:
            raise BenchError(
                f"parameter {field.name!r} of method {name!r} has no default; give it one in the "
                "class, or write a config file for the method (docs/add_a_method.md)"
            )
    return config


def _named(overrides: Sequence[str], group: str, mark: str) -> list[str]:
    """Return the options of `group` with `mark` in them that `overrides` name."""
    values = [o.partition("=")[2] for o in overrides if o.lstrip("+").startswith(f"{group}=")]
    # Hydra writes a backslash before a colon when it takes a list apart.
    names = [name.strip().replace("\\:", ":") for value in values for name in value.split(",")]
    return [name for name in names if mark in name]
