"""A user's own network, named by the function that returns it: `package.module:function`."""

import importlib
from functools import cache
from pathlib import Path

from torch import nn

from models.checksum import sha256_of
from models.errors import BenchError
from models.preprocessing import Preparation
from models.registry import import_attribute
from models.zoo.identity import Factory, Weights, ZooEntry
from models.zoo.weights import state_sha256


def user_entry(name: str) -> ZooEntry:
    """Return the entry of the network that `name` returns when called without arguments.

    Its preprocessing is the attribute `preprocessing` of the function, or of its module, and what
    it does is their `task`, classification where they have none.
    Raises BenchError when there is no such function or preprocessing.
    """
    function = import_attribute(name)
    module = importlib.import_module(name.partition(":")[0])
    if not callable(function) or module.__file__ is None:
        raise BenchError(f"model {name!r} is {function!r}; name a function that returns a network")
    preprocessing = getattr(function, "preprocessing", getattr(module, "preprocessing", None))
    if not isinstance(preprocessing, Preparation):
        raise BenchError(
            f"model {name!r} does not say what to feed it; set preprocessing = Preprocessing(...) "
            f"(models.preprocessing) in {module.__name__}, or as an attribute of the function"
        )
    task = getattr(function, "task", getattr(module, "task", "classification"))
    return ZooEntry(
        name=name,
        build="models.zoo.user:call",
        arguments=(name,),
        classes=None,
        weights={},
        summary=f"{name}, your own",
        preprocessing=preprocessing,
        code=sha256_of(Path(module.__file__)),
        task=task,
    )


def user_weights(entry: ZooEntry) -> Weights:
    """Return the weights that the network of `entry` has when its function returns it.

    The function is called once to learn their hash. Raises BenchError as `call` does.
    """
    assert entry.code is not None
    return Weights(
        tag="none",
        source=f"as {entry.name} returns them",
        locate=Factory(entry.build, entry.arguments),
        sha256=_sha256(entry.name, entry.code),
        preprocessing=entry.preprocessing,
        published=None,
    )


def call(name: str) -> nn.Module:
    """Return what the function called `name` returns.

    Raises BenchError when it raises, or returns anything but a network.
    """
    function = import_attribute(name)
    try:
        network = function()  # type: ignore[operator]
    except BenchError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        raise BenchError(
            f"model {name!r} raised {type(error).__name__}: {reason}; call it in Python to see "
            "where"
        ) from error
    if not isinstance(network, nn.Module):
        raise BenchError(f"model {name!r} returned {type(network).__name__}, not a torch.nn.Module")
    return network


@cache
def _sha256(name: str, code: str) -> str:
    return state_sha256(call(name).state_dict())
