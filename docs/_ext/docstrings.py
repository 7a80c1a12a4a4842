"""Docstrings are written for people who read source: what reStructuredText would take for markup is said to be none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from sphinx.application import Sphinx

#: |u - v| is an absolute value, no substitution
_BAR = re.compile(r"\|(?=\S)")
#: <function RunOptions.<lambda>>, <factory>
_OBJECT = re.compile(r"<(?:[^<>]|<[^<>]*>)*>")


def plain(app: Sphinx, what: str, name: str, about: object, options: object, lines: list[str]) -> None:
    """Escapes in place, but for what is code: between backticks, examples, and what a module's text sets apart."""
    if what == "module":
        lines[:] = list(_with_blocks(lines))
        return
    code = False
    for n, line in enumerate(lines):
        code = line.lstrip().startswith(">>>") or (code and bool(line.strip()))
        if not code:
            parts = line.split("`")
            parts[::2] = [_BAR.sub(r"\\|", part) for part in parts[::2]]
            lines[n] = "`".join(parts)


def told(app: Sphinx, what: str, name: str, about: object, options: object, signature: str, returns: str) -> tuple:
    """A signature whose defaults that are functions or objects are dots: Sphinx would not read it otherwise."""
    return (_OBJECT.sub("...", signature) if signature else signature), returns


def _with_blocks(lines: list[str]) -> Iterator[str]:
    """Marks what is indented after an empty line as code."""
    inside = False
    for before, line in pairwise(["", *lines]):
        indented = line.startswith("    ")
        if indented and not inside and not before.strip():
            yield from ("::", "")
        inside = indented or (inside and not line.strip())
        yield line


def setup(app: Sphinx) -> dict[str, bool]:
    """Docstrings before napoleon reads them, and signatures."""
    app.connect("autodoc-process-docstring", plain, priority=400)
    app.connect("autodoc-process-signature", told)
    return {"parallel_read_safe": True}
