"""A Weights & Biases report and saved workspace of an experiment.

Both show the runs of the given cells and nothing else. They are built without network or account;
only `save` needs one.
"""

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd

from bench.tables.headline import metrics_of, titles
from bench.tables.pairs import split_keys
from bench.tables.summarise import bits_text, parameter_value
from bench.tasks.base import Metric
from models.errors import BenchError

try:
    import wandb_workspaces.reports.v2 as reports
    import wandb_workspaces.workspaces as workspaces
    from wandb_workspaces import expr
except ImportError as error:
    raise BenchError(
        "reports need wandb-workspaces: pip install 'quantization-bench[report]'"
    ) from error

_RECIPE = (
    *("method", "variant", "recipe.method.images", "bits", "recipe_name"),
    *("recipe.quantizer.w_scheme", "recipe.quantizer.a_scheme", "recipe.quantizer.w_range"),
    *("recipe.quantizer.a_range", "recipe.quantizer.sites", "recipe.quantizer.rounding"),
    *("recipe.batchnorm", "recipe.weights.source", "weights_sha256", "seed"),
)
# Of what is typed, in the recipe of a result: a quantizer that is trained is its method's.
_PLACES = {
    "method.qat.": "recipe.quantizer.",
    "method.": "recipe.method.",
    "quant.": "recipe.quantizer.",
}
_MOST_RUNS = 100  # of a curve panel; a workspace shows ten unless told


def build_report(
    name: str, cells: pd.DataFrame, project: str, entity: str, ask: bool = False
) -> reports.Report:
    """Return the report of an experiment, not saved.

    cells: as of `cell_rows`, those that are measured. entity: who owns the report and the runs.
    ask: name the project in each set of runs, for which its number is asked of W&B.
    """

    def grid(
        title: str, members: pd.DataFrame, by: Sequence[str], panels: Any
    ) -> reports.PanelGrid:
        runs = reports.Runset(
            entity=entity if ask else "",
            project=project if ask else "",
            name=title,
            filters=_only(members),
            groupby=[f"config.{key}" for key in _config_keys(by, members)],
            pinned_columns=_columns(metric),
            order=[reports.OrderBy(reports.SummaryMetric(metric.key))],
        )
        return reports.PanelGrid(runsets=[runs], panels=panels)

    methods, conditions = split_keys(cells)
    metric = _metric(cells)
    everything = [*methods, *conditions]
    groups = _groups(cells, conditions)
    bars = [grid(title, group, methods, [_bar(title, metric)]) for title, group in groups]
    return reports.Report(
        project=project,
        entity=entity,
        title=name,
        description=f"{len(cells)} cells of experiment={name}",
        width="fluid",
        blocks=[
            reports.MarkdownBlock(
                f"Runs: `bench run -m experiment={name}`. Table: `bench table {name}`. "
                f"Which differences are resolved: `bench compare {name}`."
            ),
            reports.H2("Accuracy against bits"),
            grid("cells, seeds together", cells, everything, _scatters(metric)),
            reports.H2("Methods compared"),
            *bars,
            reports.H2("Calibration images"),
            grid("images and distillation", cells, (), [_images(), _curves()]),
            reports.H2("Recipes"),
            grid("recipes", cells, (), [_recipes(metric), reports.RunComparer(diff_only="split")]),
        ],
    )


def build_workspace(
    name: str, cells: pd.DataFrame, project: str, entity: str
) -> workspaces.Workspace:
    """Return the saved view of an experiment's runs, not saved; arguments as of `build_report`."""
    methods, conditions = split_keys(cells)
    metric = _metric(cells)
    sections: dict[str, list[Any]] = {
        "Accuracy": [*_scatters(metric), _bar(metric.title, metric)],
        "Calibration images": [_images(), _curves()],
        "Recipes": [_recipes(metric), reports.RunComparer(diff_only="split")],
    }
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name=name,
        sections=[
            workspaces.Section(name=title, panels=panels, is_open=True)
            for title, panels in sections.items()
        ],
        settings=workspaces.WorkspaceSettings(max_runs=_MOST_RUNS),
        runset_settings=workspaces.RunsetSettings(
            filters=_only(cells),
            groupby=[expr.Config(key) for key in _config_keys([*methods, *conditions], cells)],
            pinned_columns=_columns(metric),
        ),
    )


def specification(report: reports.Report, workspace: workspaces.Workspace) -> dict[str, Any]:
    """Return what `save` would send, as plain JSON values."""
    models = {"report": report._to_model(), "workspace": workspace._to_model()}
    return {
        kind: json.loads(model.model_dump_json(by_alias=True, exclude_none=True))
        for kind, model in models.items()
    }


def _only(cells: pd.DataFrame) -> expr.And:
    return expr.And(expr.Summary("cell_id").isin(list(cells["id"])))


def _groups(cells: pd.DataFrame, conditions: list[str]) -> list[tuple[str, pd.DataFrame]]:
    """Return the cells under the same conditions, with a title such as `resnet20, W4A4`."""
    groups = []
    for values, group in cells.groupby(conditions, sort=False, dropna=False):
        *others, w_bits, a_bits = values
        bits = bits_text(w_bits, a_bits)
        words = [str(parameter_value(value)) for value in others]
        groups.append((", ".join([*words, bits]), group))
    return groups


def _config_keys(columns: Sequence[str], cells: pd.DataFrame) -> list[str]:
    """Return where the config of a run holds columns of `cell_rows`."""
    places = {"data.limit": ["recipe.evaluation.images"], "data.subset": ["recipe.calibration.set"]}
    if any(isinstance(bits, str) for bits in cells["w_bits"]):  # a run has `mixed` for them all
        budgets = ["recipe.quantizer.mean_bits", "recipe.quantizer.size_mb"]
        places["w_bits"] = ["w_bits", *budgets]
    return [key for column in columns for key in places.get(column, [_recorded(column)])]


def _recorded(column: str) -> str:
    for typed, place in _PLACES.items():
        if column.startswith(typed):
            return place + column.removeprefix(typed)
    return column


def _metric(cells: pd.DataFrame) -> Metric:
    """Return the headline of `cells`; raises BenchError where they are of several tasks."""
    metrics = metrics_of(cells)
    if len(metrics) > 1:
        raise BenchError(
            f"these cells are of {titles(metrics)}, and a report is of one number; give an "
            "experiment of one task"
        )
    return metrics[0]


def _columns(metric: Metric) -> list[str]:
    """Return the columns of the run table: numbers, then what they depend on."""
    recipe = [_column(key) for key in _RECIPE]
    counted = "correct" if metric.key == "top1" else "boxes"
    numbers = [metric.key, "ci_low", "ci_high", metric.of_float, counted, "total", "size_mb"]
    summary = [f"summary:{key}" for key in (*numbers, "seconds/total")]
    return ["run:displayName", *summary, *recipe]


def _column(key: str) -> str:
    first, *rest = key.split(".")
    return ".".join([f"config:{first}", "value", *rest])


def _scatters(metric: Metric) -> list[reports.ScatterPlot]:
    axes = {"weight bits": "w_bits", "activation bits": "a_bits", "MiB of weights": "size_mb"}
    return [
        reports.ScatterPlot(
            title=f"{metric.title} (%) against {words}",
            x=reports.SummaryMetric(key),
            y=reports.SummaryMetric(metric.key),
            legend_template="${config:method} ${config:bits}",
        )
        for words, key in axes.items()
    ]


def _bar(title: str, metric: Metric) -> reports.BarPlot:
    return reports.BarPlot(
        title=title,
        metrics=[metric.key],
        title_x=f"{metric.title}, % (mean over seeds)",
        groupby_aggfunc="mean",
        groupby_rangefunc="stddev",
        layout=reports.Layout(w=24, h=8),
    )


def _images() -> reports.MediaBrowser:
    return reports.MediaBrowser(
        title="calibration images", media_keys=["calibration/images"], num_columns=4
    )


def _curves() -> reports.LinePlot:
    return reports.LinePlot(
        title="distillation", x="distill/step", y=["distill/loss"], max_runs_to_show=_MOST_RUNS
    )


def _recipes(metric: Metric) -> reports.ParallelCoordinatesPlot:
    places = [f"recipe.quantizer.{key}" for key in ("w_range", "a_range", "sites")]
    keys = ["method", *places, "w_bits", "a_bits"]
    columns: list[Any] = [reports.Config(key) for key in keys]
    return reports.ParallelCoordinatesPlot(
        title=f"recipes and {metric.title}",
        columns=[
            reports.ParallelCoordinatesPlotColumn(column)
            for column in (*columns, reports.SummaryMetric(metric.key))
        ],
    )
