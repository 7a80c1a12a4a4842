"""A blocker's debugger: matches that it loses, known or likely, and why.

Known matches that are no candidates are listed with what their records share. Where none are known, other ways of
looking are asked, each attribute by itself among them, and what they think most of and the blocker has not kept is
likely lost (as the blocking debugger of Magellan does: Li et al., 'MatchCatcher', EDBT 2018, by top-k joins of
attributes).
"""

from __future__ import annotations

import numpy as np
import polars as pl

from features.record_pairs import RecordPairs
from features.records import Records
from recsys.blocking.blocker import BlockingConfig, block
from recsys.blocking.candidates import Candidates
from recsys.blocking.report import same_of
from recsys.blocking.terms import TermsConfig, TermSpace, paired, texts_of

#: terms that are named of a pair
_NAMED = 5


def lost_matches(candidates: Candidates, matches: RecordPairs) -> pl.DataFrame:
    """Known matches that are no candidates.

    Args:
        candidates: What the blocker kept.
        matches: Pairs that are known to be the same: see `recsys.blocking.report.report`.

    Returns:
        Columns left_id, right_id, similar (of characters, all attributes), the same of each attribute by its name
        (null where one side says nothing), shared (their rarest common words) and why. The most similar first.
    """
    known = same_of(matches)
    gone = known.take(np.flatnonzero(candidates.places(known) < 0))
    return _told(candidates, gone)


def likely_lost(candidates: Candidates, n: int = 50, neighbours: int = 5) -> pl.DataFrame:
    """Pairs that are no candidates, and that another way of looking thinks much of.

    Each attribute is asked by itself, by characters, and all of them together by words.

    Args:
        candidates: What the blocker kept.
        n: How many are wanted.
        neighbours: How many nearest records each way is asked for.

    Returns:
        As `lost_matches`, with a column by: the attribute, or "words".
    """
    left, right = candidates.left, candidates.right
    ways = [(one, BlockingConfig(("characters",), n * 1.0, neighbours, (one,))) for one in left.attributes]
    ways.append(("words", BlockingConfig(("words",), n * 1.0, neighbours)))
    rows: list[np.ndarray] = []
    by: list[str] = []
    seen: set[int] = set()
    for name, config in ways:
        found = block(left, right, config)
        fresh = np.flatnonzero(candidates.places(found.pairs) < 0)
        # nearest of each other, or all that is said is said by many
        fresh = fresh[(found.ranks[fresh] == 0).all(axis=(1, 2))]
        for place, code in zip(fresh, found.pairs.codes()[fresh].tolist(), strict=True):
            if code not in seen:
                seen.add(code)
                rows.append(np.array([found.left_rows[place], found.right_rows[place]]))
                by.append(name)
    pairs = np.array(rows, np.int64).reshape(-1, 2)
    told = _told(candidates, RecordPairs(left, right, pairs[:, 0], pairs[:, 1]), by)
    return told.head(n)


def _told(candidates: Candidates, pairs: RecordPairs, by: list[str] | None = None) -> pl.DataFrame:
    """What there is to say of pairs that are no candidates."""
    rows = (pairs.left_rows, pairs.right_rows)
    frame = pairs.take(np.arange(len(pairs))).frame().select("left_id", "right_id")
    if by is not None:
        frame = frame.with_columns(by=pl.Series(by, dtype=pl.String))
    similar = _similarities(pairs.left, pairs.right, rows)
    shared = _shared(pairs.left, pairs.right, rows)
    frame = frame.with_columns(similar, shared=pl.Series(shared, dtype=pl.String))
    last = float(candidates.strength[-1]) if len(candidates) else 0.0
    why = [
        "they share no term" if one == 0 else f"others are nearer: the last candidate has a strength of {last:.3f}"
        for one in frame["similar"].to_list()
    ]
    return frame.with_columns(why=pl.Series(why, dtype=pl.String)).sort("similar", descending=True)


def _similarities(left: Records, right: Records, rows: tuple[np.ndarray, np.ndarray]) -> list[pl.Series]:
    """Of all attributes together, and of each: the cosine of their n-grams."""
    found = []
    for name, attributes in (("similar", ()), *((one, (one,)) for one in left.attributes)):
        texts = [texts_of(one.values, attributes) for one in (left, right)]
        space = TermSpace(TermsConfig(), *texts)
        values = pl.Series(name, paired(space.vectors(texts[0]), space.vectors(texts[1]), rows))
        said = pl.Series(
            [
                (one != "") and (other != "")
                for one, other in zip(texts[0].gather(rows[0]), texts[1].gather(rows[1]), strict=True)
            ],
            dtype=pl.Boolean,
        )
        found.append(values if name == "similar" else pl.select(pl.when(said).then(values).alias(name))[name])
    return found


def _shared(left: Records, right: Records, rows: tuple[np.ndarray, np.ndarray]) -> list[str]:
    """The words that both records of each pair have, the rarest first."""
    words = [texts_of(one.values).str.extract_all(r"[\p{L}\p{N}]+") for one in (left, right)]
    counts = pl.concat([one.list.unique().explode() for one in words]).drop_nulls().value_counts(name="n")
    told = dict(counts.iter_rows())
    found = []
    for one, other in zip(words[0].gather(rows[0]).to_list(), words[1].gather(rows[1]).to_list(), strict=True):
        both = sorted(set(one) & set(other), key=lambda word: (told[word], word))
        found.append(" ".join(both[:_NAMED]))
    return found
