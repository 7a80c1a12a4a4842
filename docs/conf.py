"""How Sphinx builds the documentation: `make docs`, which ends with an error at the first broken link.

Pages are Markdown that reads well where it lies, too; the reference comes from docstrings, the command line from its
parser. Nothing is fetched from elsewhere to build or to show it, but for MathJax, which a browser fetches for formulas.
"""

from __future__ import annotations

import logging
import os
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(HERE / "_ext")]
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
logging.getLogger("faiss.loader").setLevel(logging.WARNING)  # says at length which of its builds it takes

project = "recsys-unified"
author = "The recsys-unified authors"
copyright = f"2026, {author}"
release = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "command_line",
    "docstrings",
    "notebooks",
]
exclude_patterns = ["_ext", "drawings"]

# ------------------------------------------------------------------------------------------------ pages and notebooks
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4  # headings have the anchors that they have on GitHub
nb_execution_mode = "off"  # whoever commits a notebook has run it

# ------------------------------------------------------------------------------------------------ from docstrings
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
python_maximum_signature_line_length = 88
napoleon_google_docstring, napoleon_numpy_docstring = True, False
default_role = "py:obj"  # what a docstring names is a link, if there is a page of it
nitpick_ignore_regex = [("py:.*", ".*")]  # else it is a name like any other

# ------------------------------------------------------------------------------------------------ how it looks
html_theme = "furo"
html_title = "recsys-unified"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}
copybutton_exclude = ".linenos, .gp, .go"

# ------------------------------------------------------------------------------------------------ `make links`
linkcheck_ignore = [r"https?://(localhost|127\.0\.0\.1)"]
linkcheck_timeout = 30
