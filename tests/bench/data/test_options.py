"""The `data` node is checked before anything is read."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from bench.config.compose import compose
from bench.data import DATASETS, scan
from bench.data.options import read_options
from models.errors import BenchError
from tests.bench.data.images import write_tree

CONF = Path(__file__).parents[3] / "conf" / "data"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "data.name=None is not a name"),
        ({"name": "mnist"}, "unknown data set 'mnist'; did you mean 'mnist5k'?"),
        ({"name": "mnist5k", "root": "x"}, "'mnist5k' has no option 'root'"),
        ({"name": "imagenet", "rot": "x"}, "no option 'rot'; did you mean 'root'?"),
        ({"name": "imagenet", "root": 3}, "data.root=3 is not a path"),
        ({"name": "imagenet", "root": " "}, "data.root=' ' is not a path"),
        ({"name": "imagenet", "root": "~no-such-user/x"}, "data.root='~no-such-user/x'"),
        ({"name": "imagenet", "root": None}, "data.root is not set for data set 'imagenet'"),
        ({"name": "imagenet", "root": "/no/such"}, "data.root='/no/such' is not a folder"),
        ({"name": "folder", "label": 5}, "data.label=5 is not a name"),
        ({"name": "cifar10", "download": "yes"}, "data.download='yes' is neither true nor false"),
        ({"name": "folder", "skip_bad": 1}, "data.skip_bad=1 is neither true nor false"),
        ({"name": "mnist5k", "skip_bad": True}, "'mnist5k' has no option 'skip_bad'"),
        ({"name": "mnist5k", "limit": 0}, "data.limit=0 is not a number of images"),
        ({"name": "mnist5k", "limit": True}, "data.limit=True is not a number of images"),
        ({"name": "mnist5k", "limit": 1.5}, "data.limit=1.5 is not a number of images"),
        ({"name": "mnist5k", "limit": 1001}, "more than the 1000 images of the eval side"),
        ({"name": "mnist5k", "subset": 0}, "data.subset=0 is not a number of images"),
        ({"name": "mnist5k", "subset": True}, "data.subset=True is not a number of images"),
        ({"name": "mnist5k", "subset": "5"}, "data.subset='5' is not a number of images"),
        ({"name": "mnist5k", "subsets": 5}, "no option 'subsets'; did you mean 'subset'?"),
    ],
)
def test_a_wrong_option_is_one_clear_line(config: dict[str, object], message: str) -> None:
    with pytest.raises(BenchError) as caught:
        scan(config, "eval")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_root_is_expanded_and_relative_to_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/somewhere")
    assert read_options({"name": "x", "root": "photos"}, ["root"]).root == tmp_path / "photos"
    assert read_options({"name": "x", "root": "~/p"}, ["root"]).root == Path("/somewhere/p")


@pytest.mark.parametrize("name", DATASETS.names())
def test_every_data_set_has_a_described_configuration_with_exactly_its_options(name: str) -> None:
    path = CONF / f"{name}.yaml"
    first = path.read_text().splitlines()[0]
    assert first.startswith("# ") and len(first) > 10
    config = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(config, dict)
    assert config["name"] == name
    assert set(config) == {"name", "limit", "subset", *DATASETS.get(name).keys}
    read_options({str(key): value for key, value in config.items()}, DATASETS.get(name).keys)


def test_cifar10_as_jpeg_is_a_folder_with_a_name_of_its_own(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "unpacked", {"train/cat": 2, "test/cat": 1})
    config = compose(["data=cifar10_jpeg", f"data.root={root}"])["data"]
    assert set(config) == {"name", "root", "label", "limit", "subset", "skip_bad"}
    assert scan(config, "eval").name == "cifar10-jpeg"
    assert len(scan(config, "train")) == 2
