"""Hydra sweeper: every job of the listed values, of one grid or several; what is known is not run.

Hydra takes sweepers from the package `hydra_plugins` only, and imports that whole package when it
starts. `bench run` prefers this one to Hydra's own. An experiment that no single grid describes,
such as the table of a paper, lists several.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.utils import JobReturn
from omegaconf import DictConfig, OmegaConf

from bench.config.compose import Configs
from bench.config.files import config_folder
from bench.config.grids import jobs_of_sweep

if TYPE_CHECKING:
    from bench.sweep.session import Session


class GridsSweeper(BasicSweeper):
    """Runs the jobs of every grid of `grids`, each a mapping of keys to lists of values.

    Without grids there is one, of `params` and the lists typed. Hydra takes 0.05 s to compose a
    job, and the launcher composes it again. So jobs are composed here where they are plain, those
    whose cells are finished are noted as known, and the launcher, whichever it is, gets the others.
    """

    def __init__(
        self,
        grids: Sequence[Mapping[str, Any]] = (),
        max_batch_size: int | None = None,
        params: dict[str, str] | None = None,
    ) -> None:
        super().__init__(max_batch_size, params)
        self._grids = grids

    def setup(self, *, hydra_context: Any, task_function: Any, config: DictConfig) -> None:
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        self._session: Session = task_function  # what `bench run` has given Hydra
        self._configs, self._user_configs = _configs(config)

    def sweep(self, arguments: list[str]) -> list[Sequence[JobReturn]]:
        """Run what is left of the sweep, in batches of at most `max_batch_size`.

        Raises BenchError, or an error of Hydra's, before any job is run when one does not compose.
        """
        assert self.config is not None
        assert self.launcher is not None
        jobs = jobs_of_sweep(self._grids, self.params, arguments, self._user_configs)
        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        left = self._left(jobs)
        size = self.max_batch_size or len(left)
        returns = []
        for start in range(0, len(left), max(1, size)):
            results = self.launcher.launch(left[start : start + size], initial_job_idx=start)
            for result in results:
                _ = result.return_value  # raises what ended the job, such as an interrupt
            returns.append(results)
        return returns

    def _left(self, jobs: list[list[str]]) -> list[list[str]]:
        """Note the jobs whose cells are finished, and return the others."""
        trees = [self._configs.plain(job) if self._configs else None for job in jobs]
        self.validate_batch_is_legal([j for j, tree in zip(jobs, trees, strict=True) if not tree])
        self._session.expect(jobs)
        return [
            job
            for job, tree in zip(jobs, trees, strict=True)
            if not tree or not self._session.known(tree, job)
        ]


def _configs(config: DictConfig) -> tuple[Configs | None, Path | None]:
    """Return what composes as Hydra does here, and the folder of the user's own configs.

    Where Hydra looks into more folders, nothing does.
    """
    files = {s.provider: s.path for s in config.hydra.runtime.config_sources if s.schema == "file"}
    typed = files.pop("command-line", None)
    user_configs = None if typed is None else Path(typed)
    if files != {"main": str(config_folder())} or config.hydra.job.config_name != "config":
        return None, user_configs
    return Configs(user_configs), user_configs
