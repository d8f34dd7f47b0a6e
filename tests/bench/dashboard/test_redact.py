import pytest

from bench.dashboard.redact import HIDDEN, environment_secrets, redact

KEY = "0123456789abcdef" * 2 + "deadbeef"


@pytest.mark.parametrize(
    "name", ["api_key", "WANDB_API_KEY", "apiKey", "access-token", "password", "client_secret"]
)
def test_a_value_with_a_secret_name_is_hidden_whole(name: str) -> None:
    assert redact({"a": [{name: KEY}], "b": {name: {"x": KEY}}}) == {
        "a": [{name: HIDDEN}],
        "b": {name: HIDDEN},
    }


def test_a_secret_that_is_not_set_is_left() -> None:
    assert redact({"api_key": None}) == {"api_key": None}


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"WANDB_API_KEY={KEY} bench run", f"WANDB_API_KEY={HIDDEN} bench run"),
        (f'{{"api_key": "{KEY}", "x": 1}}', f'{{"api_key": {HIDDEN}, "x": 1}}'),
        (f"Authorization token: Bearer {KEY}", f"Authorization token: {HIDDEN}"),
        (f"https://user:{KEY}@host/path", f"https://{HIDDEN}host/path"),
        (f"key wandb_v1_{KEY} is wrong", f"key {HIDDEN} is wrong"),
        (f"hf_{KEY}", HIDDEN),
    ],
)
def test_texts_lose_what_looks_like_a_secret(text: str, left: str) -> None:
    assert redact(text) == left


@pytest.mark.parametrize(
    "text",
    [
        *("sha256 " + "ab" * 32, "n01440764/ILSVRC2012_val_00000293.JPEG", "a@b", "16:04:05"),
        *("docs: tokenizer and secretary", "https://arxiv.org/abs/2001.00281", KEY),
    ],
)
def test_other_texts_stay(text: str) -> None:
    assert redact(text) == text


def test_values_of_secret_variables_are_found_anywhere() -> None:
    environment = {"WANDB_API_KEY": KEY, "SIGNING_KEY": "planted-1", "TOKEN": "1", "HOME": "/root"}
    secrets = environment_secrets(environment)
    assert secrets == [KEY, "planted-1"]  # a value as short as 1 is in every number
    said = {"files": [f"x{KEY}y.png"], "planted-1": 1, "n": 1, "ok": True}
    assert redact(said, secrets) == {"files": [f"x{HIDDEN}y.png"], HIDDEN: 1, "n": 1, "ok": True}


def test_long_texts_take_no_time() -> None:
    assert redact("a" * 2_000_000) == "a" * 2_000_000
