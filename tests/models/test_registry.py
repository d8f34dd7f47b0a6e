"""Names to objects: late imports, and errors that help."""

import importlib
import sys
from importlib.metadata import EntryPoints
from pathlib import Path

import pytest

import models.registry
from models.errors import BenchError
from models.registry import Registry, did_you_mean, import_attribute


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module that nobody has imported; it holds `Thing` = 7."""
    name = "registry_test_module"
    (tmp_path / f"{name}.py").write_text("Thing = 7\n")
    (tmp_path / "registry_test_needy.py").write_text("import no_such_dependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, name, raising=False)
    importlib.invalidate_caches()
    return name


def install(folder: Path, group: str, entries: str) -> None:
    """Put a distribution with entry points of `group` into `folder`."""
    info = folder / "thing-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{entries}\n")
    importlib.invalidate_caches()


def test_imported_when_asked_for(module: str) -> None:
    registry: Registry[int] = Registry("thing", {"one": f"{module}:Thing"})
    assert registry.names() == ["one"]
    assert registry.paths() == {"one": f"{module}:Thing"}
    assert module not in sys.modules
    assert registry.get("one") == 7
    assert module in sys.modules


def test_module_path_is_a_name(module: str) -> None:
    registry: Registry[int] = Registry("thing", {})
    assert registry.get(f"{module}:Thing") == 7
    assert registry.names() == []


def test_without_a_group_nothing_is_installed() -> None:
    assert Registry[int]("thing", {}).installed() == {}


def test_entry_points_of_its_own_group(module: str, tmp_path: Path) -> None:
    registry: Registry[int] = Registry("thing", {"two": "x:Y"}, "registry_test.things")
    other: Registry[int] = Registry("thing", {}, "registry_test.others")
    assert registry.installed() == {}
    install(tmp_path, "registry_test.things", f"one = {module}:Thing")
    assert registry.names() == ["one", "two"]
    assert other.names() == []
    assert module not in sys.modules
    assert registry.get("one") == 7


def test_installed_packages_are_read_once(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    read = models.registry.entry_points

    def watched(group: str) -> EntryPoints:
        calls.append(group)
        return read(group=group)

    monkeypatch.setattr("models.registry.entry_points", watched)
    registry: Registry[int] = Registry("thing", {}, "registry_test.once")
    for _ in range(3):
        assert registry.installed() == {}
    assert calls == ["registry_test.once"]
    install(tmp_path, "registry_test.once", f"one = {module}:Thing")
    for _ in range(3):
        assert registry.names() == ["one"]
    assert calls == ["registry_test.once"] * 2


def test_a_built_in_cannot_be_replaced(module: str, tmp_path: Path) -> None:
    install(tmp_path, "registry_test.things", f"one = {module}:Thing")
    registry: Registry[int] = Registry("thing", {"one": "a:B"}, "registry_test.things")
    with pytest.raises(BenchError) as caught:
        registry.get("one")
    assert str(caught.value) == (
        f"thing 'one' is claimed by a:B and by the installed {module}:Thing; "
        "rename the entry point in 'registry_test.things'"
    )


def test_unknown_name() -> None:
    registry: Registry[int] = Registry("thing", {"gaussian": "a:B", "real": "a:C"})
    with pytest.raises(BenchError, match=r"^unknown thing 'gausian'; did you mean 'gaussian'\?$"):
        registry.get("gausian")
    with pytest.raises(BenchError, match=r"^unknown thing 'xyz'; choose one of: gaussian, real$"):
        registry.get("xyz")


def test_what_cannot_be_imported(module: str) -> None:
    with pytest.raises(BenchError, match="cannot import 'no_such_module:X': No module named"):
        import_attribute("no_such_module:X")
    with pytest.raises(BenchError, match="No module named 'no_such_dependency'; is it installed"):
        import_attribute("registry_test_needy:X")
    with pytest.raises(BenchError, match=f"^'{module}' has no 'Things'; did you mean 'Thing'"):
        import_attribute(f"{module}:Things")


def test_did_you_mean() -> None:
    assert did_you_mean("w4a5", ["w4a4", "w8a8"]) == "did you mean 'w4a4'?"
    assert did_you_mean("q", ["b", "a"]) == "choose one of: a, b"
    many = [f"n{i:02}" for i in range(45)]
    listed = did_you_mean("zzz", many)
    assert listed == "choose one of: " + ", ".join(many[:40]) + ", ..."
