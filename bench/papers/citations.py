"""BibTeX for an experiment: of its methods, networks, weights, images and techniques."""

import re
from collections.abc import Iterable, Mapping

from bench.cells.request import normalised
from bench.config.schema import Config
from bench.papers.published import REFERENCES
from methods.registry import METHODS, method_class
from models.errors import BenchError
from models.registry import did_you_mean
from models.zoo import zoo

# Names to keys in papers.bib. Papers whose method is here are cited by the method's own entry.
BIBTEX_KEYS = {
    "adaround": "nagel2020up",
    "aimet": "aimet",
    "ait": "choi2022its",
    "apot": "li2020additive",
    "banner": "banner2019post",
    "bit_split": "wang2020towards",
    "brecq": "li2021brecq",
    "dfq_pytorch": "dfqpytorch",
    "dpq": "chen2020differentiable",
    "dsg_journal": "qin2021diverse",
    "dsg_qat": "qin2021diverse",
    "efficientnet_lite": "efficientnetlite",
    "gdfq": "xu2020generative",
    "gdfq_unofficial": "gdfqunofficial",
    "intraq": "zhong2022intraq",
    "kill_the_bits": "stock2020bit",
    "mixed_step_range": "schaefer2024edge",
    "mqbench": "li2021mqbench",
    "mrecg": "ma2023solving",
    "pytorchcv": "pytorchcv",
    "qdrop": "wei2022qdrop",
    "rhhc_zeroq_mp": "zeroqmp",
    "squant": "guo2022squant",
    "surrogates": "schaefer2024edge",
    "torchvision": "torchvision",
}
# First letters of a name to keys in papers.bib.
KEYS_BY_PREFIX: dict[str, dict[str, tuple[str, ...]]] = {
    "model": {
        "efficientnet_lite": ("tan2019efficientnet", "efficientnetlite"),
        "fasterrcnn": ("ren2015faster", "lin2017feature"),
        "fpn_detector": ("lin2017focal", "lin2017feature"),
        "inceptionv3": ("szegedy2016rethinking",),
        "lenet": ("lecun1998gradient",),
        "maskrcnn": ("he2017mask", "lin2017feature"),
        "mobilenetv2": ("sandler2018mobilenetv2",),
        "resnet": ("he2016deep",),
        "retinanet": ("lin2017focal", "lin2017feature"),
        "shufflenet": ("zhang2018shufflenet",),
        "squeezenext": ("gholami2018squeezenext",),
        "timm/": ("wightman2019timm",),
        "vgg": ("simonyan2015very",),
        "word_bag": ("joulin2017bag",),
    },
    "weights": {"pytorchcv": ("pytorchcv",), "timm/": ("wightman2019timm",)},
    "data": {
        "cifar10": ("krizhevsky2009learning",),
        "coco": ("lin2014microsoft",),
        "digits_canvas": ("lecun1998gradient", "raschka2018mlxtend"),
        "imagenet": ("russakovsky2015imagenet",),
        "minikinetics": ("kay2017kinetics", "wang2016temporal"),
        "mnist5k": ("lecun1998gradient", "raschka2018mlxtend"),
        "motion": ("lecun1998gradient", "raschka2018mlxtend", "wang2016temporal"),
    },
    "technique": {
        "acos": ("schaefer2024edge",),
        "adaround": ("nagel2020up",),
        "bit_split": ("wang2020towards",),
        "dorefa": ("zhou2016dorefa",),
        "dpq_": ("chen2020differentiable",),
        "ewgs": ("lee2021network", "schaefer2024edge"),
        "invtanh": ("schaefer2024edge",),
        "kmeans": ("han2016deep",),
        "lsq": ("esser2020learned",),
        "mixed_step_range": ("schaefer2024edge",),
        "pact": ("choi2018pact",),
        "pbgs": ("kim2020position", "schaefer2024edge"),
        "product": ("stock2020bit",),
        "step_range": ("uhlich2020mixed", "schaefer2024edge"),
        "tanh": ("schaefer2024edge",),
        "uniform_static": ("schaefer2024edge",),
    },
}

_OF_TABLES = ("dpq",)
"""Methods that train and have no use for the quantizers that they are given."""


def cite_paper(name: str) -> str:
    """Return the BibTeX entry of the paper or system that reference files call `name`.

    Raises BenchError for an unknown name, and for a method that no paper is cited for.
    """
    if name in BIBTEX_KEYS:
        return _library()[BIBTEX_KEYS[name]]
    if name not in METHODS.builtin:
        raise BenchError(f"no paper is called {name!r}; {did_you_mean(name, paper_names())}")
    if not method_class(name).bibtex:
        raise BenchError(f"nothing to cite is known for method {name!r}; cite what you run it with")
    return method_class(name).bibtex


def paper_names() -> list[str]:
    """Return what a paper may be called: its name in the reference files, or its method's."""
    return sorted({*BIBTEX_KEYS, *METHODS.builtin})


def cite_cells(configs: Iterable[Config]) -> tuple[list[str], list[str]]:
    """Return the BibTeX entries for `configs`, each once, and the parts that have none, in words.

    Entries are in the order of method, model, weights, data, technique. What has no effect at the
    bit-widths of a cell, such as the method of a float one, is not cited.
    Raises BenchError for an unknown method.
    """
    library = _library()
    parts: dict[str, dict[str, None]] = {"method": {}, **{kind: {} for kind in KEYS_BY_PREFIX}}
    for config in configs:
        for kind, name in _parts(config):
            parts[kind][name] = None
    entries: dict[str, str] = {}
    without = []
    for kind, names in parts.items():
        for name in names:
            if kind == "method":
                cited = split_entries(_of_method(name, library))
            else:
                cited = _entries(kind, name, library)
            entries |= {key: text for key, text in cited.items() if key not in entries}
            if not cited and kind in ("method", "model", "data"):
                without.append(f"{kind} {name}")
    return list(entries.values()), without


def _parts(config: Config) -> list[tuple[str, str]]:
    """Return (kind, name) of everything a cell is made of."""
    config = normalised(config)
    known = zoo().get(config.model.name)
    weights = config.model.weights
    if weights == "default" and known is not None and known.weights:
        weights = next(iter(known.weights))
    trained = None if config.method["name"] in _OF_TABLES else config.method.get("qat")
    techniques = [config.quant.rounding, *(trained.values() if trained else ())]
    methods = [] if config.quant.is_float else [config.method["name"]]
    if config.quant.is_mixed and not method_class(config.method["name"]).chooses_bits:
        methods.append("zeroq")  # the paper that the choice of bits is from
    return [
        *(("method", name) for name in methods),
        ("model", config.model.name),
        ("weights", weights),
        ("data", config.data.get("label") or config.data["name"]),
        *(("technique", name) for name in techniques if isinstance(name, str)),
    ]


def _of_method(name: str, library: Mapping[str, str]) -> str:
    """Return the entry of a method: one of the library where techniques are from its paper too."""
    key = BIBTEX_KEYS.get(name)
    return method_class(name).bibtex if key is None else library[key]


def _entries(kind: str, name: str, library: Mapping[str, str]) -> dict[str, str]:
    keys = (keys for start, keys in KEYS_BY_PREFIX[kind].items() if name.startswith(start))
    return {key: library[key] for key in next(keys, ())}


def _library() -> dict[str, str]:
    return split_entries((REFERENCES / "papers.bib").read_text("utf-8"))


def split_entries(bibtex: str) -> dict[str, str]:
    """Return key to entry; an entry ends at the first line that is a closing brace alone."""
    entries = re.findall(r"^@\w+\{.*?^\}", bibtex, re.DOTALL | re.MULTILINE)
    return {entry.partition("{")[2].partition(",")[0].strip(): entry for entry in entries}
