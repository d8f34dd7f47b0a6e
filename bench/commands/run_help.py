"""`bench run --help`: the groups and values that can be set."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from bench.config.compose import compose
from bench.config.files import options

_GROUPS = ("model", "data", "method", "quant", "recipe", "experiment", "tracking")
_OF_TRAININGS = ("qat", "schedule")

_TEXT = """\
bench run measures one cell; bench run -m measures every combination of the listed values.

== Groups (GROUP=OPTION, or GROUP=OPTION,OPTION with -m) ==
{groups}

== Groups of methods that train ==
{trainings}

== Values (key=value) ==
{values}
== Examples ==
bench run model=resnet20 data=mnist5k method=zeroq quant=w4a4
bench run -m method=gaussian,zeroq,real quant.w_bits=8,4,3 seed=0,1,2
bench run -m experiment=demo
bench run -m experiment=demo --dry-run      what is left to measure, and what that takes
bench run -m experiment=demo shard=1/4      a quarter of it, the same on every machine

bench run --hydra-help shows the flags; --cfg job prints the composed config and runs nothing."""


def help_text(overrides: Sequence[str], user_configs: Path | None = None) -> str:
    """Return the help: the options of each group, and the values that `overrides` compose to.

    user_configs: a folder of the user's own configs (`--config-dir`).

    Raises BenchError when they do not compose.
    """
    groups = (_line(group, group, user_configs) for group in _GROUPS)
    trainings = (_line(f"{g}@method.{g}", g, user_configs) for g in _OF_TRAININGS)
    values = yaml.safe_dump(compose(overrides, user_configs), sort_keys=False)
    return _TEXT.format(groups="\n".join(groups), trainings="\n".join(trainings), values=values)


def _line(key: str, group: str, user_configs: Path | None) -> str:
    return f"{key}: {', '.join(options(group, user_configs))}"
