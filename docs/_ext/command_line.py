"""The directive `recsys-help`: what `recsys --help` says, and every verb's help, from the parser itself."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

#: columns of a help text
WIDTH = 88


def verbs(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Each verb of a parser with its own parser, verbs of verbs after theirs."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for one in action.choices.values():
                yield one.prog, one
                yield from verbs(one)


def help_of(parser: argparse.ArgumentParser) -> str:
    """Its help, of one width and without colours wherever it is made."""
    before = {name: os.environ.get(name) for name in ("COLUMNS", "NO_COLOR")}
    os.environ.update(COLUMNS=str(WIDTH), NO_COLOR="1")
    try:
        return parser.format_help()
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


class RecsysHelp(SphinxDirective):
    """A section a verb."""

    def run(self) -> list[nodes.Node]:
        """The help of all verbs together, then of each."""
        from training.cli import parser

        root = parser()
        found: list[nodes.Node] = [_literal(help_of(root))]
        for name, one in verbs(root):
            section = nodes.section(ids=[nodes.make_id(name)], names=[nodes.fully_normalize_name(name)])
            section += [nodes.title("", "", nodes.literal(text=name)), _literal(help_of(one))]
            self.state.document.note_explicit_target(section)
            found.append(section)
        return found


def _literal(text: str) -> nodes.literal_block:
    return nodes.literal_block(text, text, language="text", classes=["command-line"])


def setup(app: Sphinx) -> dict[str, bool]:
    """Makes the directive known."""
    app.add_directive("recsys-help", RecsysHelp)
    return {"parallel_read_safe": True}
