"""What the documentation's own Sphinx extensions do. (Without the extra docs there is no Sphinx.)"""

import importlib.util
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

pytest.importorskip("sphinx")

FOLDER = Path(__file__).parents[2] / "docs/_ext"


def extension(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_verb_has_its_help() -> None:
    from training.cli import COMMANDS, parser

    command_line = extension("command_line")
    found = dict(command_line.verbs(parser()))
    assert {f"recsys {verb}" for verb in COMMANDS} < found.keys() and "recsys match train" in found
    said = command_line.help_of(found["recsys resolve"])
    assert "--one-to-one" in said and max(map(len, said.splitlines())) <= command_line.WIDTH


def test_notebooks_are_copied_with_their_links_and_old_copies_go(tmp_path: Path) -> None:
    site, source = tmp_path / "docs", tmp_path / "notebooks"
    (site / "_notebooks").mkdir(parents=True)
    (site / "_notebooks/00_gone.ipynb").write_text("{}", encoding="utf-8")
    app = SimpleNamespace(srcdir=str(site))
    notebooks = extension("notebooks")
    notebooks.copy_notebooks(app)  # of a folder that is not there
    assert [one.name for one in (site / "_notebooks").iterdir()] == ["index.md"]
    source.mkdir()
    (source / "01_first.ipynb").write_text('"[page](../docs/page.md)"', encoding="utf-8")
    notebooks.copy_notebooks(app)
    copy = site / "_notebooks/01_first.ipynb"
    assert copy.read_text(encoding="utf-8") == '"[page](../page.md)"'
    assert "01_first" in (site / "_notebooks/index.md").read_text(encoding="utf-8")
    before = copy.stat().st_mtime_ns
    notebooks.copy_notebooks(app)
    assert copy.stat().st_mtime_ns == before


def test_what_looks_like_markup_is_escaped_and_code_is_not() -> None:
    lines = ["of |u - v| and u * v, but `|a|` and", "", ">>> 2 | 3", "3", "", "again |a|"]
    extension("docstrings").plain(None, "class", "x", None, None, lines)
    assert lines == [r"of \|u - v| and u * v, but `|a|` and", "", ">>> 2 | 3", "3", "", r"again \|a|"]
    signature = "(n: int, say: Callable[[str], None] = <function One.<lambda>>, of: dict = <factory>)"
    assert extension("docstrings").told(None, "class", "x", None, None, signature, None) == (
        "(n: int, say: Callable[[str], None] = ..., of: dict = ...)",
        None,
    )
    lines = ["A folder:", "", "    folder/", "        file", "", "Then text."]
    extension("docstrings").plain(None, "module", "x", None, None, lines)
    assert lines == ["A folder:", "", "::", "", "    folder/", "        file", "", "Then text."]
