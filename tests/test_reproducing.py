"""docs/reproducing.md names what there is, and says no number that the references do not have."""

import re
from pathlib import Path

import pytest

from bench.config.files import options
from bench.papers.citations import paper_names
from bench.papers.published import load_published, printable, select

PAGE = (Path(__file__).parents[1] / "docs" / "reproducing.md").read_text()

EXPERIMENTS = sorted(set(re.findall(r"experiment=(\w+)", PAGE)))


def test_it_covers_the_tables_of_the_papers() -> None:
    assert EXPERIMENTS == [
        "adarounding",
        "banner",
        "bayesian_bits",
        "bayesian_bits_mnist5k",
        "bit_allocation_resnet20",
        "bit_split",
        "brecq",
        "coquant_cifar10_mobilenetv2",
        "coquant_cifar10_resnet18",
        "coquant_imagenet_resnet18",
        "coquant_minikinetics_resnet18",
        "dsg_ablation",
        "dsg_adaround",
        "dsg_calibrators",
        "dsg_inceptionv3",
        "dsg_journal_ptq",
        "dsg_journal_qat",
        "dsg_resnet18",
        "dsg_resnet50",
        "dsg_slide",
        "dsg_squeezenext",
        "embedding_classifier_efficientnet_lite0",
        "embedding_words",
        "equal_bits_imagenet_efficientnet_lite0",
        "float_weights",
        "gdfq",
        "haq",
        "kill_the_bits",
        "kill_the_bits_mask_rcnn",
        "mixed_step_range_imagenet_efficientnet_lite0",
        "mixed_step_range_imagenet_mobilenetv2",
        "mqbench_ptq",
        "qdrop",
        "spread_resnet18_w4a4",
        "squant_baselines",
        "surrogates_competitors",
        "surrogates_efficientnet_lite0",
        "zeroq_detection",
        "zeroq_images",
        "zeroq_mixed",
        "zeroq_uniform",
        "zeroq_w8a8",
    ]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_it_names_is_there(name: str) -> None:
    assert name in options("experiment")


def test_the_spread_it_quotes_is_published() -> None:
    label = {"model": "resnet18", "method": "zeroq", "w_bits": 4, "a_bits": 4, "data": "imagenet"}
    known = {p.value for p in filter(printable, select(load_published(), label))}
    paragraph = PAGE[PAGE.index("**26.04 %") : PAGE.index("- Several numbers")]
    assert {float(n) for n in re.findall(r"\d+\.\d\d", paragraph)} == known


def test_the_files_it_links_to_are_there() -> None:
    links = re.findall(r"\]\(([\w.]+)(?:#[\w-]+)?\)", PAGE)
    assert len(links) >= 4
    assert all((Path(__file__).parents[1] / "docs" / link).is_file() for link in links)


def test_the_paper_of_each_section_can_be_cited() -> None:
    assert {"zeroq", "dsg", "coquant", "adaround", "surrogates"} <= set(paper_names())
