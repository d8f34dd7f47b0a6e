"""A file that was changed says so, wherever it was changed."""

import json
from pathlib import Path

import pytest

from bench.files.checksum import (
    CHECKSUMS,
    append_checksum,
    appended_fits,
    checksums,
    fits,
    folder_fits,
    sealed,
)

# printf 'abc' | sha256sum
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize("text", ['{"a": 1}', '{\n "a": 1\n}', '{"a": {"b": []}}\n'])
def test_a_sealed_object_has_one_more_key_and_fits(text: str) -> None:
    content = sealed(text)
    read = json.loads(content)
    assert list(read)[-1] == "checksum"
    del read["checksum"]
    assert read == json.loads(text)
    assert fits(content.encode()) is True


def test_the_checksum_is_that_of_all_before_its_comma() -> None:
    # printf '{"a": "é"' | sha256sum
    sha256 = "b1f18880adb7acc6e17abdfb6a00d3f18904234453be2f7c6e4f8c924a45fc8e"
    assert sealed('{"a": "é"}') == f'{{"a": "é",\n "checksum": "{sha256}"\n}}\n'


def test_every_changed_byte_of_a_sealed_object_shows() -> None:
    content = sealed('{\n "top1": 91.5,\n "id": "abc"\n}').encode()
    for place in range(len(content)):
        altered = bytearray(content)
        altered[place] ^= 0x01
        assert fits(bytes(altered)) is not True, place
    for length in range(len(content)):
        assert fits(content[:length]) is not True, length
    assert fits(content + b"\n") is False
    assert fits(b'{"a": 1}') is None


def test_a_file_with_an_appended_checksum(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert appended_fits(path) is None
    append_checksum(path)
    whole = path.read_bytes()
    assert whole == f"abc\nsha256 {ABC}".encode()
    assert appended_fits(path) is True
    for place in range(len(whole)):
        altered = bytearray(whole)
        altered[place] ^= 0x01
        path.write_bytes(altered)
        assert appended_fits(path) is not True, place
    for length in (0, 2, 70, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert appended_fits(path) is None


def test_an_appended_checksum_of_several_parts(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(3_000_001))
    append_checksum(path)
    assert appended_fits(path) is True
    with path.open("r+b") as file:
        file.seek(2_999_999)
        file.write(b"\x01")
    assert appended_fits(path) is False


def test_a_folder_fits_its_checksums(tmp_path: Path) -> None:
    (tmp_path / "partial").write_bytes(b"abc")
    (tmp_path / "other").write_bytes(b"")
    said = checksums({"final": tmp_path / "partial", "other": tmp_path / "other"})
    assert json.loads(said)["final"] == ABC
    assert folder_fits(tmp_path), "an earlier version wrote none"
    (tmp_path / CHECKSUMS).write_text(said)
    assert not folder_fits(tmp_path), "the file has not been renamed"
    (tmp_path / "partial").rename(tmp_path / "final")
    assert folder_fits(tmp_path)
    for content in ("", "[]", "{", '{"final": 3}', '{"gone": ""}'):
        (tmp_path / CHECKSUMS).write_text(content)
        assert not folder_fits(tmp_path), content
    (tmp_path / CHECKSUMS).write_text(said)
    (tmp_path / "other").write_bytes(b"x")
    assert not folder_fits(tmp_path)
