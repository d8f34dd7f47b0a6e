"""The sweeper that every multirun has unless it names another."""

from hydra.conf import HydraConf
from hydra.core.config_store import ConfigStore


def prefer_grids() -> None:
    """Make `grids` the sweeper of each multirun whose experiment or command line names no other.

    An override in the primary config would win over those of experiments.
    """
    store = ConfigStore.instance()
    grids = {"sweeper": "grids"}
    if grids in store.repo["hydra"]["config.yaml"].node.defaults:
        return  # making it anew takes a tenth as long as Hydra takes to compose
    node = HydraConf()
    node.defaults = [grids if "sweeper" in item else item for item in node.defaults]
    store.store(group="hydra", name="config", node=node, provider="hydra")
