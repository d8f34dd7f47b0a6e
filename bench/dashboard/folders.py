"""Folders of one machine are no part of a result, and do not go into a page that is passed on."""

import re

FOLDER = "FOLDER"
"""Stands for a folder of one machine."""

_PART = r"[^\s/'\"<>:;,=()\[\]]+"
_FOLDERS = re.compile(rf"(?<![\w.:/<])~?/(?:{_PART}/)+")
# What comes after such a folder tells a reader which cell, or which line of code, is meant.
_TELLING = re.compile(r".*/(?=(?:cells|bench|methods|models|site-packages)/)")
_VALUE = re.compile(r"(?P<before>^|^[^=]*=['\"]?)~?/(?:.*/)?(?=[^/])")


def without_folders(text: str) -> str:
    """Return `text` with `FOLDER/` for the folders of every absolute path; names of files stay."""
    return _FOLDERS.sub(_shortened, text)


def _shortened(match: re.Match[str]) -> str:
    path = match[0]
    private = _TELLING.match(path)
    return f"{FOLDER}/{path[private.end() :] if private else ''}"


def word_without_folders(word: str) -> str:
    """Return one word of a command, such as `data.root=/home/me/my images`, in the same way.

    Its value is one path, spaces included, where it begins as one.
    """
    return without_folders(_VALUE.sub(rf"\g<before>{FOLDER}/", word))
