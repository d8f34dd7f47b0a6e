from bench.cells.recipe_label import presets
from bench.dashboard.labels import bits_order, leaves, method_labels
from tests.bench.dashboard.examples import example


def labels(*cells: dict, contexts: list[int] | None = None) -> list[str]:
    results = [example(str(i), **cell) for i, cell in enumerate(cells)]
    return method_labels(results, contexts or [0] * len(cells), presets())


def test_methods_are_told_apart_by_what_varies() -> None:
    zeroq = {"method": "zeroq", "variant": "release"}
    assert labels({}, {}, zeroq) == ["gaussian", "gaussian", "zeroq (release)"]
    more = [example("0", method="zeroq"), example("1", method="zeroq")]
    method = more[1].recipe.method | {"images": 64}
    recipe = more[1].recipe.model_copy(update={"method": method})
    more[1] = more[1].model_copy(update={"recipe": recipe})
    assert method_labels(more, [0, 0], presets()) == ["zeroq (images 16)", "zeroq (images 64)"]
    assert method_labels(more, [0, 1], presets()) == ["zeroq", "zeroq"]


def test_precision_training_images_and_trained_quantizers_are_part_of_the_label() -> None:
    half = {"calibration": {"synthesis_precision": "bf16"}}
    assert labels({}, half) == ["gaussian", "gaussian (synthesis_precision bf16)"]
    trained = [{"quantizer": {"weight_surrogate": name}} for name in ("ste", "ewgs")]
    assert labels(*trained) == [
        "gaussian (weight_surrogate ste)",
        "gaussian (weight_surrogate ewgs)",
    ]


def test_leaves_of_nested_mappings() -> None:
    assert dict(leaves({"a": 1, "b": {"c": 2, "d": {"e": [3]}}})) == {
        "a": 1,
        "b.c": 2,
        "b.d.e": [3],
    }


def test_few_bits_come_first() -> None:
    assert bits_order(example("a")) == 6  # W4A8
    mixed = {"w_bits": "mixed", "a_bits": 8}
    assert bits_order(example("a", quantizer={"mean_bits": 3.0}, **mixed)) == 5.5
    sized = example("a", quantizer={"size_mb": 0.1}, weight_bits={"a": 2, "b": 4}, **mixed)
    assert bits_order(sized) == 5.5
