"""What a browser lets a page of the service do."""

from __future__ import annotations

import base64
import hashlib
import re


def policy(page: str) -> str:
    """What a browser is to let a page do: its own inline parts by their hashes, and asking where it came from.

    Args:
        page: With `<script>` and `<style>` elements without attributes.
    """
    allowed = {
        kind: " ".join(map(_hash, re.findall(rf"<{kind}>(.*?)</{kind}>", page, re.DOTALL))) or "'none'"
        for kind in ("script", "style")
    }
    return (
        f"default-src 'none'; script-src {allowed['script']}; style-src {allowed['style']}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _hash(part: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()}'"
