"""Wrong usage and refused input, in one line: by whom, what is wrong, and what was perhaps meant."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, NoReturn

#: how long a process waits for the launcher to end it, once the first one of its machine has told what is wrong
PATIENCE = 10.0


class Parser(argparse.ArgumentParser):
    """Takes options by their whole names; wrong usage is one line and status 2.

    By their beginnings, `--k 2` would be `--keep-seen`, and a script would mean something else when an option is added.
    What was parsed says in `called` which verb it was, as it is typed: "recsys match train".
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **{**settings, "allow_abbrev": False})

    def parse_known_args(self, args: Iterable[str] | None = None, namespace: Any = None) -> Any:
        """As argparse's, but what is not known is refused here, by the parser of the verb, who knows what there is."""
        words = list(sys.argv[1:] if args is None else args)
        if self._subparsers is None:  # before what is missing is named: that is perhaps what was misspelt
            for word in words[: words.index("--") if "--" in words else None]:
                if word.startswith("--") and " " not in word and _name(word) not in self._option_string_actions:
                    self._refuse(word)
        known, rest = super().parse_known_args(words, namespace)
        if rest:
            self._refuse(rest[0])
        if not hasattr(known, "called"):  # a verb's verb is parsed first
            known.called = self.prog
        return known, rest

    def error(self, message: str) -> NoReturn:
        """Ends the process."""
        tell(f"{self.prog}: error: {message}")
        sys.exit(2)

    def _refuse(self, word: str) -> NoReturn:
        if not word.startswith("-"):
            self.error(f"nothing takes the argument {word!r}")
        near = nearest(_name(word), self._option_string_actions)
        self.error(f"there is no option {_name(word)}" + (f"; did you mean {near}?" if near else ""))


def nearest(name: str, options: Iterable[str]) -> str | None:
    """The option that was perhaps meant: the shortest that begins so, else the one that is written most alike.

    Example:
        >>> nearest("--users", ["--user", "--history"]), nearest("--hist", ["--user", "--history"])
        ('--user', '--history')
        >>> nearest("--colour", ["--user", "--history"])
    """
    of: dict[str, str] = {}
    for one in options:
        of.setdefault(one.lstrip("-"), one)
    asked = name.lstrip("-").lower()
    begins = sorted((one for one in of if one.startswith(asked)), key=len)
    found = begins or get_close_matches(asked, of, n=1)
    return of[found[0]] if found and asked else None


def tell(line: str) -> None:
    """Says on standard error why a process ends, once for all processes of a machine that a launcher started.

    What is wrong with one is mostly wrong with all. The others wait, so that the launcher, which ends all when one has
    ended, does not end the one that talks; who is not ended by then may know what the first does not, and tells it.
    """
    if int(os.environ.get("LOCAL_RANK") or 0) > 0:
        time.sleep(PATIENCE)
    print(line, file=sys.stderr, flush=True)


def _name(word: str) -> str:
    return word.partition("=")[0]
