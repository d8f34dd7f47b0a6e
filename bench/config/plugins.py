"""Methods of a user's own, as if they had a config file in `conf/method`."""

from collections.abc import Sequence
from dataclasses import MISSING, fields
from typing import Any

from hydra.core.config_store import ConfigStore

from methods.registry import METHODS, method_class
from models.errors import BenchError


def register_methods(overrides: Sequence[str]) -> None:
    """Make every installed method, and every `method=module:Class`, an option of group `method`.

    Its config is its parameters at their defaults. Raises BenchError when one cannot be imported.
    """
    store = ConfigStore.instance()
    for name in [*METHODS.installed(), *_module_paths(overrides)]:
        store.store(group="method", name=name, node=default_config(name))


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


def _module_paths(overrides: Sequence[str]) -> list[str]:
    values = [o.removeprefix("method=") for o in overrides if o.startswith("method=")]
    return [name for value in values for name in value.split(",") if ":" in name]
