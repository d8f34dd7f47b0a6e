"""The result of one cell: what every key of `result.json` means.

`docs/result.schema.json` is this class as JSON Schema.
"""

from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_serializer,
    model_serializer,
)

from bench.cells.migrations import SCHEMA_VERSION
from bench.cells.recipe import Recipe
from bench.statistics.coco import NUMBERS as COCO_NUMBERS
from bench.tasks.base import Task
from bench.tasks.registry import CLASSIFICATION, task_named
from models.quantize.budget import limits_of
from models.quantize.labels import bits_label

Percent = float

LATER = ("task", *COCO_NUMBERS, "boxes", "objects", "masks", "fp32_map")
"""Fields that only the records of later tasks have."""

OF_PARTS = ("part_of", "drop_low", "drop_high")
"""Fields that only the records of cells evaluated in part have."""

COSTS = (
    *("size_mb", "size_with_scales_mb", "mean_bits"),
    *("activations_mb", "largest_activation_mb", "mean_activation_bits"),
    *("macs", "mac_bits", "bops", "bops_percent", "bops_with_additions"),
    "latency_ms",
)
"""Fields of `Result` that say what the network costs."""


class Result(BaseModel):
    """One measured, failed or skipped cell. Accuracies and precisions are in percent, 0..100."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    schema_version: Literal[3] = SCHEMA_VERSION
    id: str = Field(description="Hash of everything that can change the number.")
    request_id: str = Field(
        description="Hash of what was asked for, without the content of the image sets. Results "
        "are found by it and by the fingerprints of the images."
    )
    status: Literal["done", "failed", "skipped"]
    reason: str | None = Field(None, description="One line: why the cell failed or was skipped.")
    traceback: str | None = Field(None, description="Of a failed cell.")

    model: str
    weights: str = Field(description="Name of the weights among the model's, or a file path.")
    method: str
    variant: str | None = Field(None, description="Of the method, where it has several.")
    data: str = Field(description="Name of the evaluation set.")
    w_bits: int | Literal["mixed"] = Field(
        description="2..16, or 32 for float; mixed: chosen layer by layer, see recipe.weight_bits."
    )
    a_bits: int | Literal["mixed"] = Field(
        description="2..16, or 32 for float; mixed: chosen place by place, see recipe.input_bits."
    )
    seed: int
    group: str = Field(description="Experiment the cell was first measured for.")
    task: str = Field(
        CLASSIFICATION,
        description="What the network does with an image: classification or detection. The keys "
        "of a task that came later are absent from the records of another.",
    )

    top1: Percent | None = None
    top5: Percent | None = None
    correct: int | None = Field(None, description="Images whose best class is right.")
    correct_top5: int | None = Field(None, description="Images with the label in the best five.")
    total: int | None = Field(
        None,
        description="Images evaluated; all of the evaluation set but `left_out`, and of `part_of` "
        "a part.",
    )
    part_of: int | None = Field(
        None,
        description="Images of the evaluation set, of which `total` were evaluated, the first of a "
        "fixed random order (evaluate.until); absent, as the next two, where all were. Then all "
        "counts and percentages are of those, but fp32_top1, and the interval of top1 is one that "
        "holds however often one looked before.",
    )
    drop_low: float | None = Field(
        None,
        description="Float minus quantized top-1 of all images in points, as far as those "
        "evaluated tell: lower end of a 95 % interval that holds however often one looked before.",
    )
    drop_high: float | None = Field(None, description="The same, upper end.")
    left_out: int = Field(
        0,
        description="Images of the evaluation set that cannot be decoded (data.skip_bad=true); "
        "recipe.evaluation.left_out names them.",
    )
    classes: int | None = Field(None, description="Classes found in the evaluation set.")
    map: Percent | None = Field(
        None,
        description="Mean average precision as COCO defines it, as the next eleven: over IoU "
        "thresholds 0.50 to 0.95 and categories, at most 100 boxes an image.",
    )
    map_50: Percent | None = Field(None, description="At an IoU threshold of 0.50.")
    map_75: Percent | None = Field(None, description="At an IoU threshold of 0.75.")
    map_small: Percent | None = Field(
        None, description="Of objects of less than 32 x 32 pixels; null where there is none."
    )
    map_medium: Percent | None = Field(None, description="Of 32 x 32 to 96 x 96 pixels.")
    map_large: Percent | None = Field(None, description="Of more than 96 x 96 pixels.")
    ar_1: Percent | None = Field(None, description="Average recall, with one box an image.")
    ar_10: Percent | None = Field(None, description="With at most 10 boxes an image.")
    ar_100: Percent | None = Field(None, description="With at most 100 boxes an image.")
    ar_small: Percent | None = Field(None, description="ar_100 of objects as in map_small.")
    ar_medium: Percent | None = Field(None, description="ar_100 of objects as in map_medium.")
    ar_large: Percent | None = Field(None, description="ar_100 of objects as in map_large.")
    boxes: int | None = Field(None, description="Boxes that were found, on all images.")
    objects: int | None = Field(None, description="Boxes that are there to be found.")
    masks: dict[str, Percent | None] | None = Field(
        None,
        description="COCO's twelve numbers where masks and not boxes have to overlap, `map` to "
        "`ar_large`; absent where the network or the objects have no masks.",
    )
    ci_low: Percent | None = Field(
        None,
        description="95 % interval, lower end: Wilson's of top1, or of map the percentiles of a "
        "bootstrap over images.",
    )
    ci_high: Percent | None = Field(None, description="95 % interval, upper end.")
    fp32_top1: Percent | None = Field(None, description="Float network, same images.")
    fp32_map: Percent | None = Field(None, description="Float network, same images.")
    fp32_expected: Percent | None = Field(
        None,
        description="Published top-1 or map of the float network, where the images are those it "
        "was published for.",
    )
    lost: int | None = Field(
        None,
        description="Images that the float network has right and this one wrong. Null of a float "
        "network, as the next, and of results from before they were counted.",
    )
    gained: int | None = Field(
        None, description="Images that the float network has wrong and this one right."
    )
    size_mb: float | None = Field(
        None,
        description="Convolution and linear weights at their bits, in MiB; what stays float "
        "(biases, BatchNorm) is not counted.",
    )
    size_with_scales_mb: float | None = Field(
        None,
        description="size_mb and what reading the weights takes beside it: a 32-bit step a grid, a "
        "32-bit zero point where the grid is affine, and which bits each output channel has where "
        "they differ. Null of results from before it was counted.",
    )
    mean_bits: float | None = Field(
        None,
        description="Of a convolution or linear weight: size_mb over their number. Null of results "
        "from before it was said.",
    )
    activations_mb: float | None = Field(
        None,
        description="What convolutions, linear layers and products of activations read for an "
        "image, each tensor once, at its bits, in MiB. Null, as the next seven, where the bits are "
        "not known, and of results from before they were counted.",
    )
    largest_activation_mb: float | None = Field(None, description="The largest of these tensors.")
    mean_activation_bits: float | None = Field(None, description="Of a value in these tensors.")
    macs: int | None = Field(None, description="Multiply-accumulates for an image.")
    mac_bits: int | None = Field(None, description="Sum of macs x bits of the weight.")
    bops: int | None = Field(
        None, description="Bit operations: sum of macs x bits of the weight x bits of the input."
    )
    bops_percent: Percent | None = Field(
        None,
        description="As Bayesian Bits reports them: of the float network's, and with 8 bits for "
        "an image that is not quantized.",
    )
    bops_with_additions: int | None = Field(
        None,
        description="Bit operations as UNIQ counts them: for each multiply-accumulate also the "
        "addition in an accumulator of w + a + log2(terms) bits.",
    )
    latency_ms: float | None = Field(
        None,
        description="Of all layers, by the table quant.latency_table; null without one.",
    )
    logit_mse: float | None = Field(
        None,
        description="Mean squared difference of the logits from the float network's, over the "
        "first 128 images; of a detector of one stage, of what its heads say. Null of a float "
        "network, of one without weights that is trained from scratch, of a detector of several "
        "stages, and of results from before it was measured.",
    )
    quantized_weights: Percent | None = Field(
        None,
        description="Of the weights (parameters of two dimensions or more), those at fewer than 32 "
        "bits. Null of a float network, as the next two.",
    )
    quantized_multiplications: Percent | None = Field(
        None,
        description="Of the multiply-accumulates of a forward pass, those by such a weight.",
    )
    quantized_inputs: Percent | None = Field(
        None, description="Of the multiply-accumulates, those of a quantized input."
    )
    fp32_id: str | None = Field(None, description="Cell that holds the float measurement.")
    warnings: list[str] = Field(
        default_factory=list,
        description="What a reader must know before trusting the number, a line each.",
    )

    weights_sha256: str | None = Field(
        description="Of the weights file, or of the state dict as such a file where the weights "
        "come with a network. Null where a cell ended before weights to be fetched were there."
    )
    recipe: Recipe = Field(description="Everything the number depends on, in words.")
    calibration_key: str | None = Field(
        None, description="Folder of the calibration preview and curve under cache/calibration."
    )
    seconds: dict[str, float] = Field(
        default_factory=dict, description="Wall time by phase; `total` is all of them."
    )
    peak_memory_bytes: int | None = Field(
        None, description="Peak during the cell: of the GPU's allocator, or resident on a CPU."
    )
    runtime: dict[str, Any] = Field(default_factory=dict, description="Device, batch size, ...")
    versions: dict[str, str] = Field(default_factory=dict)
    git_sha: str | None = Field(None, description="Commit of this project; '-dirty' when changed.")
    started_at: str = Field(description="UTC, ISO 8601.")
    correct_sha256: str | None = Field(
        None,
        description="Of correct.npz beside the file, or of detections.npz; null where the cell has "
        "none.",
    )
    checksum: str | None = Field(
        None,
        description="Last in the file: the sha256 of all bytes before its comma. Null outside of "
        "result files.",
    )

    @model_serializer(mode="wrap")
    def _without_later_tasks(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = write(self)
        if self.task == CLASSIFICATION:
            for key in LATER:
                values.pop(key, None)
        if self.masks is None:
            values.pop("masks", None)
        if self.part_of is None:
            for key in OF_PARTS:
                values.pop(key, None)
        return values

    @field_serializer("recipe")
    def _without_what_does_not_apply(self, recipe: Recipe) -> dict[str, Any]:
        return recipe.as_dict()

    @property
    def of_task(self) -> Task:
        return task_named(self.task)

    @property
    def headline(self) -> Percent | None:
        """The number of its task: top-1, or mAP."""
        return getattr(self, self.of_task.headline.key)

    @property
    def float_headline(self) -> Percent | None:
        """The same of the float network, on the same images."""
        return getattr(self, self.of_task.headline.of_float)

    @property
    def mask_map(self) -> Percent | None:
        """mAP of masks; None where none are rated."""
        return None if self.masks is None else self.masks["map"]

    @property
    def label(self) -> str:
        """Readable name, such as `resnet20 mnist5k zeroq W4A4 seed 0`."""
        return f"{self.model} {self.data} {self.method} {self.bits} seed {self.seed}"

    @property
    def bits(self) -> str:
        """Short form such as `W4A8`, or with mixed precision `MP4/A8`."""
        return bits_label(self.w_bits, self.a_bits, limits_of(self.recipe.quantizer))


def writable(value: Any) -> Any:
    """Return `value`, what a result is made of, with texts that can be written as UTF-8.

    A file may have any bytes for its name; those that are none become U+FFFD.
    """
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if isinstance(value, dict):
        return {writable(key): writable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(writable, value))
    if isinstance(value, BaseModel):
        return type(value).model_validate(writable(value.model_dump(exclude_unset=True)))
    return value
