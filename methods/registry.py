"""Find a method by name and make it from its parameters."""

from collections.abc import Mapping
from dataclasses import fields
from inspect import isabstract
from typing import TYPE_CHECKING, Any

from models.errors import BenchError
from models.registry import Registry, did_you_mean

if TYPE_CHECKING:  # listing the methods must not import torch
    from methods.base import Method

METHODS: "Registry[type[Method]]" = Registry(
    "method",
    {
        "dfq": "methods.dfq:DFQ",
        "dsg": "methods.dsg:DSG",
        "float": "methods.float_reference:FloatReference",
        "gaussian": "methods.gaussian:Gaussian",
        "real": "methods.real:Real",
        "zeroq": "methods.zeroq:ZeroQ",
    },
    entry_point_group="quantization_bench.methods",
)


def method_class(name: str) -> "type[Method]":
    """Return the class called `name`: a built-in, an entry point, or `package.module:Class`.

    Raises BenchError when there is none, or when it is not a whole Method.
    """
    from methods.base import Method

    found = METHODS.get(name)
    if not (isinstance(found, type) and issubclass(found, Method)):
        raise BenchError(f"method {name!r} is {found!r}, not a subclass of methods.base.Method")
    if fault := _fault(found):
        raise BenchError(f"method {name!r}: {fault}")
    return found


def _fault(cls: "type[Method]") -> str | None:
    """Return what the author of `cls` has forgotten, in words, or None."""
    if "__dataclass_fields__" not in vars(cls):
        return "decorate the class with @dataclass(frozen=True), else its fields are no parameters"
    if "name" in {f.name for f in fields(cls)} or not isinstance(getattr(cls, "name", None), str):
        return "give the class an attribute name = '...', without an annotation"
    builtin = METHODS.builtin.get(cls.name)
    if builtin is not None and builtin != f"{cls.__module__}:{cls.__qualname__}":
        return f"the name {cls.name!r} belongs to a built-in method; give the class another"
    return "the class does not define calibrate" if isabstract(cls) else None


def make_method(config: Mapping[str, Any]) -> "Method":
    """Make the method that `config` names under "name"; its other keys are the parameters.

    Raises BenchError for an unknown name or parameter, or a value that does not fit.
    """
    from pydantic import TypeAdapter, ValidationError

    parameters = {key: value for key, value in config.items() if key != "name"}
    cls = method_class(config["name"])
    known = [f.name for f in fields(cls)]
    for key in parameters.keys() - set(known):
        raise BenchError(
            f"method {cls.name!r} has no parameter {key!r}; {did_you_mean(key, known)}"
        )
    try:
        return TypeAdapter(cls).validate_python(parameters)
    except ValidationError as error:
        first = error.errors()[0]
        message = first["msg"].removeprefix("Value error, ")
        where = ".".join(["method", *map(str, first["loc"])])
        if first["type"] == "value_error":
            raise BenchError(f"method {cls.name!r}: {message}") from error
        raise BenchError(f"{where}={first['input']!r}: {message}") from error
