"""One HTML file that needs nothing else: style, code, charting library and data are inside it."""

import base64
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from bench.dashboard.redact import environment_secrets, redact

ASSETS = Path(__file__).parent / "assets"

_SCRIPTS = (
    *("dom", "theme", "data", "statistics", "state", "export", "groups", "filters", "leaderboard"),
    *("compare", "legend", "specs", "charts", "papers", "gallery", "wrong", "cell", "main"),
)
"""One module in this order; each uses what those before it define."""

_VEGA_NOTICE = (
    "/* Vega, Vega-Lite and Vega-Embed: copyright University of Washington Interactive Data Lab, "
    "BSD-3-Clause. Bundled by vl-convert. */\n"
)


def page(title: str, document: Mapping[str, Any]) -> str:
    """Return the page that shows `document`, JSON values as of `make_document`, without secrets.

    Its content security policy lets the two scripts below run and nothing be fetched, so that no
    text of a result can become code, even if it were not escaped.
    """
    vega = _VEGA_NOTICE + vega_script()
    app = "\n".join((ASSETS / f"{name}.js").read_text(encoding="utf-8") for name in _SCRIPTS)
    parts = {
        "title": escape(redact(title, environment_secrets())),
        "policy": escape(_policy([app, vega])),
        "style": (ASSETS / "style.css").read_text(encoding="utf-8"),
        "data": json_for_html(redact(document, environment_secrets())),
        "app": app,
        "vega": vega,
    }
    template = (ASSETS / "page.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda m: parts[m[1]], template)


@cache
def vega_script() -> str:
    """Return the charting library as an ECMAScript module that sets `window.vegaEmbed`.

    It comes out of the installed vl-convert, without network; this takes two seconds.
    """
    import vl_convert

    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")


def json_for_html(value: Any) -> str:
    """Return `value` as JSON that no text in it can end, or open markup in.

    Numbers that are not finite, which JSON does not have, become null.
    """
    text = json.dumps(_finite(value), separators=(",", ":"))  # ASCII: all else is escaped
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _policy(scripts: Sequence[str]) -> str:
    hashes = " ".join(f"'sha256-{_sha256(script)}'" for script in scripts)
    allowed = {
        "default-src": "'none'",
        "script-src": hashes,
        "style-src": "'unsafe-inline'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{what} {whence}" for what, whence in allowed.items())


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
