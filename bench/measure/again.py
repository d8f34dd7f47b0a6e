"""A finished cell, to be made again from its record."""

import yaml

from bench.cells.cell import Cell, plan
from bench.cells.request import request_of
from bench.cells.result import Result
from bench.cells.store import Store
from bench.config.schema import Config, read_config
from bench.files.yaml_files import read_yaml
from bench.measure.resources import Resources
from models.errors import BenchError


def recorded_cell(store: Store, id: str) -> tuple[Result, Config]:
    """Return the result of the cell whose id begins with `id`, and its configuration.

    Raises BenchError when there is none or several, and for one that has failed or was skipped.
    """
    recorded = store.find(id)
    if recorded.status != "done":
        raise BenchError(f"cell {recorded.id} is {recorded.status}: {recorded.reason}")
    path = store.folder(recorded.id) / "config.yaml"
    try:
        config = read_config(read_yaml(path))
    except (OSError, yaml.YAMLError) as error:
        raise BenchError(f"cannot read {path}: {type(error).__name__}; measure again") from error
    here = config.paths.model_copy(update={"outputs": store.root})
    return recorded, config.model_copy(update={"paths": here})


def planned(recorded: Result, config: Config, resources: Resources) -> Cell:
    """Return the cell of a record; raises BenchError where it is no longer the same one."""
    cell = plan(request_of(config), resources.listings)
    if recorded.id not in cell.ids:
        raise BenchError(
            f"cell {recorded.id} is now {cell.id}: the weights, the images or the method's version "
            "changed since; put back what the record names"
        )
    return cell
