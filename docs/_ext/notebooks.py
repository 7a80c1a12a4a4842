"""Notebooks live outside of the documentation: before a build, those that are there are copied into docs/_notebooks."""

from __future__ import annotations

from pathlib import Path

from sphinx.application import Sphinx

FOLDER = "_notebooks"

_SOME = """From a data frame to a service, each on data that is generated or published, with what it printed and drew.
They lie in `notebooks/`, each beside the script that jupytext keeps it in step with."""
_NONE = "Scripts in `notebooks/` become notebooks by `jupytext --to ipynb`; there is none yet."
_INDEX = """# Notebooks

{told}

```{{toctree}}
:maxdepth: 1

{names}
```
"""


def copy_notebooks(app: Sphinx) -> None:
    """Brings docs/_notebooks, and a page that lists them, up to date.

    What has not changed keeps its time, so that Sphinx passes it over.
    """
    target, source = Path(app.srcdir) / FOLDER, Path(app.srcdir).parent / "notebooks"
    target.mkdir(exist_ok=True)
    found = {one.name: one.read_text(encoding="utf-8") for one in sorted(source.glob("*.ipynb"))}
    for old in target.glob("*.ipynb"):
        if old.name not in found:
            old.unlink()
    # links to pages, seen from the copy
    pages = {name: text.replace("](../docs/", "](../") for name, text in found.items()}
    names = "\n".join(name.removesuffix(".ipynb") for name in found)
    pages["index.md"] = _INDEX.format(told=_SOME if found else _NONE, names=names)
    for name, text in pages.items():
        copy = target / name
        if not copy.exists() or copy.read_text(encoding="utf-8") != text:
            copy.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Copies as soon as Sphinx has begun."""
    app.connect("builder-inited", copy_notebooks)
    return {"parallel_read_safe": True}
