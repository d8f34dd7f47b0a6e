"""Find a method by name and make it from its parameters."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import lru_cache
from inspect import isabstract
from typing import TYPE_CHECKING, Any

from models.errors import BenchError, first_mistake
from models.registry import Registry, did_you_mean

if TYPE_CHECKING:  # listing the methods must not import torch
    from pydantic import TypeAdapter

    from methods.base import Method

METHODS: "Registry[type[Method]]" = Registry(
    "method",
    {
        "adabits": "methods.adabits:AdaBits",
        "autoq": "methods.autoq:AutoQ",
        "any_precision": "methods.any_precision:AnyPrecision",
        "bayesian_bits": "methods.bayesian_bits:BayesianBits",
        "bit_mixer": "methods.bit_mixer:BitMixer",
        "coquant": "methods.coquant:CoQuant",
        "dfq": "methods.dfq:DFQ",
        "distilled_qat": "methods.distilled_qat:DistilledQat",
        "dpq": "methods.dpq:DifferentiableProductQuantization",
        "dq": "methods.dq:DQ",
        "dq_bn": "methods.dq:DQBN",
        "dsg": "methods.dsg:DSG",
        "dsg_qat": "methods.dsg_qat:DSGQat",
        "float": "methods.float_reference:FloatReference",
        "gdfq": "methods.gdfq:GDFQ",
        "haq": "methods.haq:HAQ",
        "gaussian": "methods.gaussian:Gaussian",
        "individual": "methods.individual:Individual",
        "joint": "methods.joint:Joint",
        "knowledge_within": "methods.knowledge_within:KnowledgeWithin",
        "mixed_step_range": "methods.mixed_step_range:MixedStepRange",
        "real": "methods.real:Real",
        "switchable_bn": "methods.switchable_bn:SwitchableBN",
        "synthetic": "methods.synthetic:Synthetic",
        "zeroq": "methods.zeroq:ZeroQ",
    },
    entry_point_group="quantization_bench.methods",
)

_DATA_FREE = frozenset(
    {
        *("dfq", "distilled_qat", "dsg", "dsg_qat", "float", "gaussian", "gdfq"),
        *("knowledge_within", "synthetic", "zeroq"),
    }
)


def image_method(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return name and parameters of the method that makes the images of the one in `config`.

    That is the one it names as its `source`, or it makes them itself.
    """
    source = config.get("source")
    return source if isinstance(source, Mapping) and "name" in source else config


def sees_real_images(config: Mapping[str, Any]) -> bool:
    """Return whether training images reach the method in `config`; no built-in is imported.

    config: its "name" and parameters. Raises BenchError as `method_class` does.
    """
    return any(_needs_real_images(each["name"]) for each in (config, image_method(config)))


def _needs_real_images(name: str) -> bool:
    if name in METHODS.builtin:
        return name not in _DATA_FREE
    return method_class(name).needs_real_images


def method_class(name: str) -> "type[Method]":
    """Return the class called `name`: a built-in, an entry point, or `package.module:Class`.

    Raises BenchError when there is none, or when it is not a whole Method.
    """
    from methods.base import Method

    cls = METHODS.get(name)
    if not (isinstance(cls, type) and issubclass(cls, Method)):
        raise BenchError(f"method {name!r} is {cls!r}, not a subclass of methods.base.Method")
    if fault := _fault(cls):
        raise BenchError(f"method {name!r}: {fault}")
    return cls


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
    from pydantic import ValidationError

    parameters = {key: value for key, value in config.items() if key != "name"}
    cls = method_class(config["name"])
    _check_keys(f"method {cls.name!r}", cls, parameters)
    try:
        return _adapter(cls).validate_python(parameters)
    except ValidationError as error:
        key, value, message = first_mistake(error)
        words = message.removeprefix("Value error, ")
        if words != message:
            raise BenchError(f"method {cls.name!r}: {words}") from error
        raise BenchError(f"method.{key}{value}: {message}") from error


@lru_cache(maxsize=32)
def _adapter(cls: "type[Method]") -> "TypeAdapter[Method]":
    """Return what checks parameters; making it takes milliseconds."""
    from pydantic import TypeAdapter

    return TypeAdapter(cls)


def _check_keys(what: str, cls: Any, parameters: Mapping[str, Any], prefix: str = "") -> None:
    """Raise BenchError for a key that is no field of the dataclass `cls`, or of one inside it."""
    known = {f.name: f for f in fields(cls)}
    for key, value in parameters.items():
        if key not in known:
            raise BenchError(
                f"{what} has no parameter {prefix + key!r}; {did_you_mean(key, known)}"
            )
        if isinstance(value, Mapping) and is_dataclass(known[key].type):
            _check_keys(what, known[key].type, value, f"{prefix}{key}.")
