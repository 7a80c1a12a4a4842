"""Links two tables with Splink, and says how long that took; run by the environment beside this file.

    benchmarks/peers/splink/.venv/bin/python benchmarks/peers/splink/run.py FOLDER '{"one_to_one": false}'

The folder holds left.parquet and right.parquet: unique_id (row numbers) and attributes, all strings, "" for what is not
told. It gets called.parquet: columns left and right, row numbers of pairs of a match probability of 0.5 and more. The
last line printed is JSON: {"seconds"}. This file knows nothing of this project's packages.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
import warnings

import pandas as pd
import splink.comparison_level_library as cll
import splink.comparison_library as cl
from splink import DuckDBAPI, Linker, SettingsCreator, block_on

_WORD = re.compile(r"[a-z0-9]+")
#: an attribute is a number where so many of its values are one, and told at length from so many words on average
_NUMERIC, _LONG = 0.5, 12


def main() -> None:
    """Reads, links, writes."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    folder, settings = sys.argv[1], json.loads(sys.argv[2])
    began = time.perf_counter()
    tables = [_read(f"{folder}/{side}.parquet") for side in ("left", "right")]
    attributes = [one for one in tables[0].columns if f"{one}_words" in tables[0].columns]
    rules = _rules(tables, attributes)
    numbers = [
        one
        for one in attributes
        if min(pd.to_numeric(t[one], "coerce").notna().sum() / max(t[one].notna().sum(), 1) for t in tables) >= _NUMERIC
    ]
    # what is told at length repeats the name, and EM takes what is told twice for twice the evidence
    short = [
        one
        for one in attributes
        if one == attributes[0] or max(t[f"{one}_words"].dropna().map(len).mean() for t in tables) < _LONG
    ]
    has_codes = min(table["code"].notna().mean() for table in tables) >= 0.2
    linker = Linker(
        tables,
        SettingsCreator(
            link_type="link_only",
            comparisons=[
                *(
                    _near(one) if one in numbers else _comparison(one)
                    for one in attributes
                    if one in (*numbers, *short)
                ),
                *([_codes()] if has_codes else []),
            ],
            blocking_rules_to_generate_predictions=rules,
            # half of the smaller table's records have a match: what deterministic rules say is far too low for text
            probability_two_random_records_match=0.5 / max(map(len, tables)),
        ),
        DuckDBAPI(),
    )
    linker.training.estimate_u_using_random_sampling(max_pairs=1e6, seed=1)
    for rule in (block_on("code"), block_on("word_1", "word_2"), block_on("word_last")):
        try:
            linker.training.estimate_parameters_using_expectation_maximisation(rule)
        except Exception as error:  # a rule that no pair satisfies teaches nothing
            print(f"{rule}: {str(error).splitlines()[0]}", file=sys.stderr)
    found = linker.inference.predict(threshold_match_probability=0.5).as_pandas_dataframe()
    swapped = found["source_dataset_l"] > found["source_dataset_r"]
    left = found["unique_id_l"].where(~swapped, found["unique_id_r"])
    right = found["unique_id_r"].where(~swapped, found["unique_id_l"])
    called = pd.DataFrame({"left": left, "right": right, "weight": found["match_weight"]})
    called = called.sort_values("weight", ascending=False)
    if settings.get("one_to_one"):
        called = _one_to_one(called)
    called[["left", "right"]].reset_index(drop=True).to_parquet(f"{folder}/called.parquet")
    print(json.dumps({"seconds": time.perf_counter() - began}))


def _read(path: str) -> pd.DataFrame:
    """A table, missing values null, with words of its first attribute to block on."""
    table = pd.read_parquet(path)
    attributes = [one for one in table.columns if one != "unique_id"]
    for one in attributes:
        table[one] = table[one].str.lower().str.strip()
        table[f"{one}_words"] = table[one].map(_WORD.findall).where(table[one].ne(""), None)
    words = table[attributes[0]].map(_WORD.findall)
    table["word_1"], table["word_2"] = (words.map(lambda w, n=n: w[n] if len(w) > n else None) for n in (0, 1))
    digits = words.map(lambda w: [one for one in w if any(c.isdigit() for c in one)])
    table["code"] = digits.map(lambda w: max(w, key=len) if w else None)
    table["word_last"] = words.map(lambda w: w[-1] if w else None)
    return table.where(table.ne(""), None)


def _rules(tables: list[pd.DataFrame], attributes: list[str]) -> list:
    """Exact matches, beginnings, and words; none that would make more than a few million pairs."""
    rules = []
    for one in attributes:
        counts = [table[one].value_counts() for table in tables]
        if (counts[0] * counts[1]).fillna(0).sum() < 3e5:
            rules.append(block_on(one))
    first = attributes[0]
    rules += [
        block_on(f"substr({first}, 1, 6)"),
        block_on("word_1", "word_2"),
        block_on("word_last"),
        block_on("word_1"),
    ]
    return rules


def _comparison(attribute: str) -> cl.CustomComparison:
    """Levels of the share of words that both have, and of letters for misspelt short values."""
    both, either = f'"{attribute}_words_l"', f'"{attribute}_words_r"'
    share = f"len(list_intersect({both}, {either})) / len(list_distinct(list_concat({both}, {either})))"
    return cl.CustomComparison(
        output_column_name=attribute,
        comparison_levels=[
            cll.NullLevel(attribute),
            cll.ExactMatchLevel(attribute, term_frequency_adjustments=True),
            *(cll.CustomLevel(f"{share} >= {one}", f"words {one}") for one in (0.8, 0.6)),
            cll.JaroWinklerLevel(attribute, 0.92),
            *(cll.CustomLevel(f"{share} >= {one}", f"words {one}") for one in (0.4, 0.25, 0.1)),
            cll.ElseLevel(),
        ],
    )


def _near(attribute: str) -> cl.CustomComparison:
    """Levels of by what share two numbers differ."""
    one, other = (f'try_cast("{attribute}_{side}" AS DOUBLE)' for side in "lr")
    apart = f"abs({one} - {other}) / greatest(abs({one}), abs({other}), 1e-9)"
    return cl.CustomComparison(
        output_column_name=attribute,
        comparison_levels=[
            cll.CustomLevel(f"{one} IS NULL OR {other} IS NULL", "no number").configure(is_null_level=True),
            *(cll.CustomLevel(f"{apart} <= {share}", f"within {share}") for share in (0.001, 0.05, 0.15, 0.4)),
            cll.ElseLevel(),
        ],
    )


def _codes() -> cl.CustomComparison:
    """Levels of the longest word with a digit: the same, one in the other, nearly the same."""
    return cl.CustomComparison(
        output_column_name="code",
        comparison_levels=[
            cll.NullLevel("code"),
            cll.ExactMatchLevel("code", term_frequency_adjustments=True),
            cll.CustomLevel("contains(code_l, code_r) OR contains(code_r, code_l)", "one in the other"),
            cll.LevenshteinLevel("code", 2),
            cll.ElseLevel(),
        ],
    )


def _one_to_one(called: pd.DataFrame) -> pd.DataFrame:
    """The likeliest pair first, no record twice."""
    seen: tuple[set, set] = (set(), set())
    kept = []
    for row in called.itertuples():
        if row.left not in seen[0] and row.right not in seen[1]:
            seen[0].add(row.left)
            seen[1].add(row.right)
            kept.append(row.Index)
    return called.loc[kept]


if __name__ == "__main__":
    main()
