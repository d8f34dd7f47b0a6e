import pytest

from bench.dashboard.folders import without_folders, word_without_folders


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/home/me/outputs/cells/ab/result.json is cut", "FOLDER/cells/ab/result.json is cut"),
        ("/home/me/outputs/cells/ab holds no result", "FOLDER/cells/ab holds no result"),
        ("cannot read '/home/me/a.pth'; check", "cannot read 'FOLDER/a.pth'; check"),
        ("['/data/a/x.png', '/data/b/y.png']", "['FOLDER/x.png', 'FOLDER/y.png']"),
        ("/x/lib/site-packages/torch/nn/a.py", "FOLDER/site-packages/torch/nn/a.py"),
        ("~/images/val", "FOLDER/val"),
        ("outputs/cells/ab and https://host/a/b, W4/A8/x", None),
        ("a / b, 1/2, </p></b>", None),
    ],
)
def test_absolute_paths_keep_their_names_only(text: str, shown: str | None) -> None:
    assert without_folders(text) == (text if shown is None else shown)


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("data.root=/home/me/my images", "data.root=FOLDER/my images"),
        ("data.root='/home/me/my images'", "data.root='FOLDER/my images'"),
        ("paths.outputs=~/results", "paths.outputs=FOLDER/results"),
        ("+method.files=[/home/me/a.npy,b.npy]", "+method.files=[FOLDER/a.npy,b.npy]"),
        ("/home/me/own conf", "FOLDER/own conf"),
        ("/conf", "FOLDER/conf"),
        ("data.root=../images", None),
        ("model=timm/resnet18.a1_in1k", None),
        ("data.label='it/is'", None),
    ],
)
def test_the_value_of_a_word_is_one_path(word: str, shown: str | None) -> None:
    assert word_without_folders(word) == (word if shown is None else shown)
