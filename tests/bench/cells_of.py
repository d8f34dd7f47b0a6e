"""Cells of a configuration in one step, each with resources of its own unless some are given."""

from bench.cells.cell import Cell
from bench.cells.cell import plan as plan_request
from bench.cells.request import request_of
from bench.config.schema import Config
from bench.data.listings import Listings
from bench.measure.resources import Resources
from bench.measure.run import Outcome
from bench.measure.run import run_cell as run_planned


def plan(config: Config) -> Cell:
    return plan_request(request_of(config), Listings())


def request_id(config: Config) -> str:
    return request_of(config).id


def run_cell(config: Config, resources: Resources | None = None, wait: bool = True) -> Outcome:
    resources = resources or Resources()
    return run_planned(plan_request(request_of(config), resources.listings), resources, wait)
