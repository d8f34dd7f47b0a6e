"""Parameters that came later leave names as they were."""

from dataclasses import asdict

from methods.dsg import DSG
from methods.identity import LATER, identifying
from methods.individual import Individual
from methods.training.schedule import Schedule
from methods.zeroq import ZeroQ
from models.qat.spec import QatSpec
from models.quantize.spec import QuantSpec


def test_what_earlier_versions_did_is_the_default() -> None:
    for name, made in (("qat", QatSpec()), ("schedule", Schedule())):
        values = asdict(made)
        assert {key: values[key] for key in LATER[name]} == LATER[name]


def test_distilled_images_that_are_not_clipped_are_what_they_were() -> None:
    for method in (ZeroQ, DSG):
        plain = asdict(method())
        assert plain["clip"] is False
        assert identifying(plain) == {k: v for k, v in plain.items() if k != "clip"}
        assert identifying(asdict(method(clip=True)))["clip"] is True


def test_only_other_values_are_part_of_a_name() -> None:
    plain = identifying(asdict(Individual()))
    assert not {*LATER["qat"]} & {*plain["qat"]}
    assert not {*LATER["schedule"]} & {*plain["schedule"]}
    assert plain["images"] == 256
    other = Individual(qat=QatSpec(shortcuts="float"), schedule=Schedule(depthwise_decay=False))
    assert identifying(asdict(other))["qat"]["shortcuts"] == "float"
    trained = other.identity_of_training(QuantSpec(4, 4))
    assert trained["qat"].keys() - plain["qat"].keys() == {"shortcuts"}
    assert trained["schedule"]["depthwise_decay"] is False
