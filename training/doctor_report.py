"""The doctor's report as text: narrow, aligned, and plain where it does not go to a terminal."""

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from training.doctor import Finding, Report, Row

WIDTH = 88
LONGEST = 240  # a C++ symbol can fill a screen, and its beginning says what there is to say; `--json` has all of it
GREEN, RED, YELLOW, BOLD = "32", "31", "33", "1"


def render(report: "Report", rows: "Sequence[Row]", colour: bool = False) -> str:
    """Lay out a report.

    Args:
        report: what the doctor found.
        rows: the versions known to belong together, all of them.
        colour: whether to mark words with a terminal's colours.
    """

    def paint(text: str, code: str) -> str:
        return f"\033[{code}m{text}\033[0m" if colour else text

    facts = report.facts
    gpus = ", ".join(facts.gpus) or "no GPU"
    lines = [f"Python {facts.python}, {facts.threads} threads, {facts.ram_gib:.1f} GiB of memory, {gpus}", ""]

    table = [("belong together", "torch", "torchrec", "fbgemm", "known from")]
    table += [
        ("here ->" if row == report.row else "", row.torch, row.torchrec, row.fbgemm, row.evidence) for row in rows
    ]
    head, *body = aligned(table)
    lines += [paint(head, BOLD), *(paint(line, GREEN) if line.startswith("here") else line for line in body), ""]

    packages = [("package", "wanted", "installed", "import")]
    packages += [(line.name, line.wanted, line.installed, line.state) for line in report.packages]
    head, *body = aligned(packages)
    bad = ("FAILS", "missing")
    lines += [paint(head, BOLD), *(paint(line, RED) if line.endswith(bad) else line for line in body), ""]

    lines += [line for note in report.notes for line in finding_lines(note, paint("note", YELLOW))]
    lines += [line for problem in report.problems for line in finding_lines(problem, paint("problem", RED))]
    count = len(report.problems)
    if report.healthy:
        lines.append(paint("healthy", GREEN))
    else:
        lines.append(paint(f"{count} problem{'s' * (count > 1)}", RED) + "; run the commands in the project's folder")
    return "\n".join(lines)


def aligned(table: Iterable[Sequence[str]]) -> list[str]:
    """Rows of cells as lines whose columns start at the same place.

    >>> aligned([("a", "bcd"), ("efg", "h")])
    ['a    bcd', 'efg  h']
    """
    table = list(table)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]


def finding_lines(finding: "Finding", label: str) -> list[str]:
    """A finding in lines of at most `WIDTH`, save its command, which stays whole for copying."""
    what = finding.what if len(finding.what) <= LONGEST else finding.what[:LONGEST] + " ..."
    text = textwrap.wrap(what, WIDTH - 2, break_long_words=True, break_on_hyphens=False)
    return [f"{label}:", *(f"  {line}" for line in text), *([f"  $ {finding.fix}"] if finding.fix else []), ""]
