from pathlib import Path

import pytest

from bench.config.experiments import outputs_of
from bench.config.grids import jobs_of
from bench.config.words import as_hydra_reads, text_of


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("data.root=/a/b-c_d.e", "data.root=/a/b-c_d.e"),
        ("data.root=null", "data.root=null"),
        ("data.root=", "data.root="),
        ("data.root=2024", 'data.root="2024"'),
        ("data.root=-1.5e3", 'data.root="-1.5e3"'),
        ("data.root=1_000", 'data.root="1_000"'),
        ("data.root=true", 'data.root="true"'),
        ("data.root=NaN", 'data.root="NaN"'),
        ("data.root=epoch=9", 'data.root="epoch=9"'),
        ("data.root=/a/[x](y){z}", 'data.root="/a/[x](y){z}"'),
        ("data.root=[x]", 'data.root="[x]"'),
        ("data.root=run #1", 'data.root="run #1"'),
        ("data.root=it's", 'data.root="it\'s"'),
        ('data.root=a"b', 'data.root="a\\"b"'),
        ("data.root=größe", 'data.root="größe"'),
        ("data.root='a b'", "data.root='a b'"),
        ("data.root=${oc.env:HOME}/x", "data.root=${oc.env:HOME}/x"),
        ("data.root=a,b", "data.root=a,b"),
        ("data.root=2023,2024", 'data.root="2023","2024"'),
        ("data.root=a=1,b", 'data.root="a=1","b"'),
        ("data.root=choice(a,b)", "data.root=choice(a,b)"),
        ("model.weights=runs/epoch=9.pth", 'model.weights="runs/epoch=9.pth"'),
        ("group=42", 'group="42"'),
        ("+data.root=42", '+data.root="42"'),
        ("seed=42", "seed=42"),  # no text
        ("method.bits=[8,4]", "method.bits=[8,4]"),
        ("quant.budget.bops=1e9", "++quant.budget.bops=1e9"),
        ("quant.budget={bops: 1e9}", "quant.budget={bops: 1e9}"),
    ],
)
def test_texts_get_quotes_where_they_need_them(typed: str, read: str) -> None:
    assert as_hydra_reads(typed) == read
    assert as_hydra_reads(read) == read
    assert [word for (word,) in jobs_of([typed])] == [word for (word,) in jobs_of([read])]


@pytest.mark.parametrize("name", ["a=1", "2024", "it's", 'a"b', "größe", "a\\b", "#", "~", "a b"])
def test_a_folder_is_found_under_the_name_that_is_typed(name: str) -> None:
    word = as_hydra_reads(f"paths.outputs=x/{name}")
    assert outputs_of([word]) == Path("x") / name
    assert text_of(word.partition("=")[2]) == f"x/{name}"
