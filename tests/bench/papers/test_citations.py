"""BibTeX: whole entries, each once, for what a cell is made of."""

import re
from collections.abc import Callable

import pytest

from bench.config.schema import Config
from bench.papers.citations import (
    BIBTEX_KEYS,
    KEYS_BY_PREFIX,
    cite_cells,
    cite_paper,
    paper_names,
    split_entries,
)
from bench.papers.published import REFERENCES
from methods.registry import METHODS, method_class
from models.errors import BenchError
from models.zoo import zoo

Make = Callable[..., Config]

LIBRARY = (REFERENCES / "papers.bib").read_text()
PUBLISHED_METHODS = [name for name in METHODS.builtin if method_class(name).bibtex]

REQUIRED = {
    "article": {"title", "author", "journal", "year"},
    "inproceedings": {"title", "author", "booktitle", "year"},
    "misc": {"title", "author", "howpublished"},
    "techreport": {"title", "author", "institution", "year"},
}


def fields_of(entry: str) -> tuple[str, dict[str, str]]:
    """Return the type and the fields of one entry, read brace by brace.

    Raises AssertionError where the entry is not BibTeX.
    """
    start = re.match(r"@(\w+)\{([A-Za-z0-9_]+),", entry)
    assert start is not None, entry
    fields, place = {}, start.end()
    while field := re.compile(r"\s*(\w+)\s*=\s*\{").match(entry, place):
        depth, end = 1, field.end()
        while depth:
            depth += {"{": 1, "}": -1}.get(entry[end], 0)
            end += 1
        assert field.group(1) not in fields, entry
        fields[field.group(1)] = " ".join(entry[field.end() : end - 1].split())
        place = end + (entry[end] == ",")
    assert entry[place:].strip() == "}", entry
    return start.group(1), fields


def assert_valid(entry: str) -> None:
    kind, fields = fields_of(entry)
    assert fields.keys() >= REQUIRED[kind], entry
    assert all(fields.values())
    assert re.fullmatch(r"(19|20)\d\d", fields.get("year", "2020")), entry
    assert all(name.strip() for name in fields["author"].split(" and ")), entry


def keys_of(config: Config) -> list[str]:
    return [key for entry in cite_cells([config])[0] for key in split_entries(entry)]


def test_every_entry_of_the_library_is_bibtex() -> None:
    entries = split_entries(LIBRARY)
    assert len(entries) == LIBRARY.count("\n@") == len(set(entries))
    for entry in entries.values():
        assert_valid(entry)


def test_the_reader_sees_what_is_broken() -> None:
    with pytest.raises((AssertionError, IndexError)):
        assert_valid("@article{key,\n  title = {One},\n  author = {A {B}\n}")
    with pytest.raises(AssertionError):
        assert_valid("@article{key,\n  title = {One}\n}")


@pytest.mark.parametrize("name", PUBLISHED_METHODS)
def test_every_entry_of_a_method_is_bibtex(name: str) -> None:
    entries = split_entries(method_class(name).bibtex)
    assert entries
    for entry in entries.values():
        assert_valid(entry)


def test_no_publication_has_two_entries() -> None:
    everything = split_entries(LIBRARY)
    for name in PUBLISHED_METHODS:
        found = split_entries(method_class(name).bibtex)
        assert not everything.keys() & found.keys()
        everything |= found
    titles = [fields_of(entry)[1]["title"].lower() for entry in everything.values()]
    plain = [re.sub(r"[^a-z0-9]", "", title) for title in titles]
    assert len(set(plain)) == len(plain)


def test_every_key_that_is_used_is_there() -> None:
    used = {key for kind in KEYS_BY_PREFIX.values() for keys in kind.values() for key in keys}
    used |= set(BIBTEX_KEYS.values())
    assert used == split_entries(LIBRARY).keys()


@pytest.mark.parametrize("name", [*BIBTEX_KEYS, *PUBLISHED_METHODS])
def test_every_paper_has_an_entry(name: str) -> None:
    (entry,) = split_entries(cite_paper(name)).values()
    assert_valid(entry)


def test_a_name_that_nothing_is_cited_for() -> None:
    with pytest.raises(BenchError, match="nothing to cite is known for method 'real'"):
        cite_paper("real")
    with pytest.raises(BenchError, match="no paper is called 'squan'; did you mean 'squant'"):
        cite_paper("squan")
    assert {"squant", "zeroq"} <= set(paper_names())


def test_cells_of_two_papers_by_hand(make_config: Make) -> None:
    imagenet = {"name": "imagenet", "root": None, "limit": None}
    resnet = {"data": imagenet, "model.name": "resnet18", "method.name": "zeroq"}
    entries, without = cite_cells(
        [
            make_config(resnet),
            make_config(resnet | {"model.name": "resnet50", "quant.rounding": "adaround"}),
            make_config(resnet | {"method": {"name": "real"}, "model.name": "mobilenetv2"}),
        ]
    )
    keys = [key for entry in entries for key in split_entries(entry)]
    assert keys == [
        "cai2020zeroq",
        "he2016deep",
        "sandler2018mobilenetv2",
        "pytorchcv",
        "russakovsky2015imagenet",
        "nagel2020up",
    ]
    assert without == ["method real"]


def test_what_has_nothing_to_cite_is_named(make_config: Make) -> None:
    folder = {"name": "folder", "root": ".", "label": "shop_floor", "limit": None}
    own = {"model.name": "my_networks:net", "model.weights": "none", "data": folder}
    entries, without = cite_cells([make_config(own | {"method": {"name": "gaussian"}})])
    assert entries == []
    assert without == ["method gaussian", "model my_networks:net", "data shop_floor"]


def test_quantizers_of_a_training_are_cited(make_config: Make) -> None:
    trained = {"qat": {"weight_quantizer": "dorefa", "activation_quantizer": "pact", "delta": 0.01}}
    entries, _ = cite_cells([make_config({"method": {"name": "gaussian", **trained}})])
    assert {"zhou2016dorefa", "choi2018pact"} <= {k for e in entries for k in split_entries(e)}


@pytest.mark.parametrize("surrogate", ["pbgs", "ewgs", "acos", "tanh", "invtanh"])
def test_surrogate_gradients_are_cited(make_config: Make, surrogate: str) -> None:
    for key in ("weight_surrogate", "activation_surrogate"):
        trained = {"weight_surrogate": "ste", "activation_surrogate": "ste"} | {key: surrogate}
        config = make_config({"method": {"name": "individual", "qat": trained}})
        assert keys_of(config)[-1] == "schaefer2024edge"
    plain = {"weight_surrogate": "ste", "activation_surrogate": "ste"}
    config = make_config({"method": {"name": "individual", "qat": plain}})
    assert "schaefer2024edge" not in keys_of(config)


def test_the_method_of_a_float_cell_is_not_cited(make_config: Make) -> None:
    network = {"model.name": "resnet18", "method": {"name": "zeroq", "images": 16}}
    idle = {"quant.w_bits": 32, "quant.a_bits": 32, "quant.rounding": "adaround"}
    pixels = ["lecun1998gradient", "raschka2018mlxtend"]
    config = make_config(network | idle)
    assert keys_of(config) == ["he2016deep", "pytorchcv", *pixels]
    assert cite_cells([config])[1] == []
    assert keys_of(make_config(network | idle | {"quant.a_bits": 8}))[0] == "cai2020zeroq"
    assert "nagel2020up" not in keys_of(make_config(network | idle | {"quant.a_bits": 8}))


def test_mixed_precision_is_zeroqs_whatever_the_method(make_config: Make) -> None:
    mixed = {"quant.w_bits": "mixed", "quant.mean_bits": 4}
    config = make_config(mixed | {"method": {"name": "gaussian", "images": 16}})
    assert keys_of(config)[0] == "cai2020zeroq"
    assert cite_cells([config])[1] == ["method gaussian"]
    plain = make_config({"method": {"name": "gaussian", "images": 16}})
    assert "cai2020zeroq" not in keys_of(plain)


def test_bits_that_a_method_chooses_are_its_own(make_config: Make) -> None:
    method = {"name": "bayesian_bits", "images": 16}
    keys = keys_of(
        make_config({"quant.w_bits": "mixed", "quant.a_bits": "mixed", "method": method})
    )
    assert "vanbaalen2020bayesian" in keys and "cai2020zeroq" not in keys


@pytest.mark.parametrize("name", sorted(zoo()))
def test_every_network_of_the_zoo_is_cited(make_config: Make, name: str) -> None:
    config = make_config({"model.name": name, "method": {"name": "gaussian"}})
    assert cite_cells([config])[1] == ["method gaussian"]
