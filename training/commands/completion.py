"""`recsys completion`"""

from __future__ import annotations

import argparse

_EPILOG = """in bash, once for all shells to come:

  recsys completion bash > ~/.local/share/bash-completion/completions/recsys

in zsh, in a folder of $fpath:

  recsys completion zsh > ~/.zfunc/_recsys
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"), help="for which shell")


def run(arguments: argparse.Namespace) -> int:
    """Prints the script that a shell reads."""
    import shtab

    from training.cli import parser

    print(shtab.complete(parser(), shell=arguments.shell))
    return 0
