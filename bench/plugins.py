"""Methods of a user's own, as if they had a config file in `conf/method`."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from hydra.core.config_store import ConfigStore

from methods.registry import METHODS, method_class


def register_methods(overrides: Sequence[str]) -> None:
    """Make every installed method, and every `method=module:Class`, an option of group `method`.

    Its config is its parameters at their defaults. Raises BenchError when one cannot be imported.
    """
    store = ConfigStore.instance()
    for name in [*METHODS.installed(), *_module_paths(overrides)]:
        store.store(group="method", name=name, node=default_config(name))


def default_config(name: str) -> dict[str, Any]:
    """Return the config of the method called `name`: its parameters at their defaults."""
    cls = method_class(name)
    return {"name": name, **{field.name: field.default for field in fields(cls)}}


def _module_paths(overrides: Sequence[str]) -> list[str]:
    values = [o.removeprefix("method=") for o in overrides if o.startswith("method=")]
    return [name for value in values for name in value.split(",") if ":" in name]
