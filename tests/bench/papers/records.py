"""Hand-made results for the jobs of an experiment."""

from typing import Any

from bench.cells.request import Request
from bench.cells.result import Result
from bench.statistics.intervals import wilson_interval
from methods.identity import identifying
from models.quantize.identity import written

WEIGHTS = "pytorchcv-0.0.51"
FLOAT_CORRECT = 35_735  # 71.47 % of 50,000


def record(job: Request, correct: int, total: int = 50_000, **changes: Any) -> Result:
    """Return what `bench run` records for `job` when `correct` of `total` images are right."""
    config = job.effective
    method, quant = config.method, written(config.quant)
    name = "float" if quant["w_bits"] == quant["a_bits"] == 32 else method["name"]
    low, high = wilson_interval(correct, total)
    calibration: dict[str, Any] = {"images": method.get("images")}
    if name == "real" or "qat" in method:
        calibration |= {"set": f"{config.data['name']}, training side", "fingerprint": "f" * 8}
    left_out = (
        *("rounding_epochs", "rounding_variant", "rounding_ratio"),
        *("rounding_batch", "rounding_penalty", "rounding_loss", "rounding_drop", "rounding_step"),
        *("rounding_block", "rounding_centroids", "rounding_layer", "rounding_network"),
        *("weight_correction", "bias", "reestimate", "equalise"),
    )
    quantizer = {k: v for k, v in quant.items() if not k.startswith(left_out)}
    if "qat" in method:
        known = ("weight_quantizer", "activation_quantizer")
        bits = {"w_bits": quant["w_bits"], "a_bits": quant["a_bits"]}
        quantizer = bits | {key: method["qat"][key] for key in known}
        schedule = {key: method["schedule"][key] for key in ("epochs", "batch_size")}
        method = {"name": name, "init": method["init"], "schedule": schedule}
    recipe = {
        "weights": {"source": f"a file called {WEIGHTS}", "sha256": "0123456789abcdef"},
        "quantizer": quantizer,
        "batchnorm": "folded" if quant["fold"] else "not folded, float",
        "method": {"version": 1, **identifying(method)},
        "calibration": calibration,
        "evaluation": {"fingerprint": "e" * 8},
    }
    said = {
        "id": f"{job.id[:15]}x",
        "request_id": job.id,
        "status": "done",
        "model": config.model.name,
        "weights": WEIGHTS,
        "method": name,
        "data": config.data["name"],
        "w_bits": quant["w_bits"],
        "a_bits": quant["a_bits"],
        "seed": config.seed,
        "group": config.group,
        "top1": 100 * correct / total,
        "top5": 100.0,
        "correct": correct,
        "total": total,
        "classes": 1000,
        "ci_low": low,
        "ci_high": high,
        "fp32_top1": 100 * FLOAT_CORRECT / 50_000,
        "weights_sha256": "0123456789abcdef",
        "recipe": recipe,
        "started_at": "2026-01-01T00:00:00+00:00",
    }
    return Result.model_validate(said | changes)
