from pathlib import Path

import pytest
import yaml

from bench.files.yaml_files import parse_yaml, read_yaml


def test_a_file_is_read_as_yaml_1_1_without_objects(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: [1, 2.5, null, yes]\n")
    assert read_yaml(path) == {"a": [1, 2.5, None, True]}
    with pytest.raises(yaml.YAMLError):
        parse_yaml("!!python/object/apply:os.getcwd []")
    with pytest.raises(yaml.YAMLError):
        parse_yaml("a: [")
