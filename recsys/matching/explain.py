"""Why a matcher says what it says of a pair: what it would say without an attribute, or without a word."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from recsys.matching.ditto import DittoMatcher, log_odds_of
from recsys.matching.pair_reader import PairReader
from recsys.matching.words import Told

#: words of a pair that are left out one by one; of more, those whose values are longest lose their last ones
MOST_WORDS = 128


@dataclass(frozen=True)
class Explanation:
    """What decided about one pair. All numbers are log-odds, before calibration.

    A language model does not add up what it reads: the differences need not sum to the whole, and of two words that say
    the same thing each may seem to do nothing.

    Args:
        log_odds: What is said of the pair.
        attributes: For each attribute, by how much that is more than without it on both sides.
        words: Side ("left" or "right"), attribute, word, and by how much it is more than without that word.
    """

    log_odds: float
    attributes: dict[str, float]
    words: list[tuple[str, str, str, float]]

    def frame(self) -> pl.DataFrame:
        """The words, what decided most first. Columns side, attribute, word, share"""
        names = {"side": pl.String, "attribute": pl.String, "word": pl.String, "share": pl.Float64}
        return pl.DataFrame(self.words, schema=names, orient="row").sort(pl.col("share").abs(), descending=True)

    def draw(self, path: Path | str, words: int = 15) -> None:
        """Writes the picture.

        Args:
            path: Where it goes; its suffix says of what kind it is.
            words: As `picture`.
        """
        self.picture(words).savefig(path, dpi=130)

    def picture(self, words: int = 15) -> Figure:
        """Attributes, and the words that decided most; blue speaks for the same, orange against it.

        Args:
            words: How many.
        """
        told = self.frame().head(words)
        labels = [f"{one['word']}  ({one['side']} {one['attribute']})" for one in told.iter_rows(named=True)]
        panels = ((list(self.attributes), list(self.attributes.values())), (labels, told["share"].to_list()))
        heights = [max(len(names), 1) for names, _ in panels]
        figure = Figure(figsize=(8, 1.2 + 0.28 * sum(heights)), layout="constrained")
        FigureCanvasAgg(figure)
        for panel, (names, shares), what in zip(
            figure.subplots(2, 1, height_ratios=heights), panels, ("attributes", "words"), strict=True
        ):
            colours = ["#0072B2" if one > 0 else "#D55E00" for one in shares]
            panel.barh(range(len(names)), shares, color=colours)
            panel.set_yticks(range(len(names)), names, fontsize=8)
            panel.invert_yaxis()
            panel.axvline(0, color="black", lw=0.8)
            panel.set_title(
                f"{what}: how much higher the log-odds ({self.log_odds:.2f}, before calibration) are with each",
                fontsize=9,
            )
        return figure


def explain(matcher: DittoMatcher, reader: PairReader, left: Told, right: Told) -> Explanation:
    """What decided about a pair, by leaving out one thing at a time: no gradient, and nothing that is not exact.

    Args:
        matcher: In evaluation mode.
        reader: Its own.
        left: One record, as `reader.read(...).record(row)` gives it.
        right: The other one.
    """
    pair = (left, right)
    places = [
        (side, n, m) for side, told in enumerate(pair) for n, (_, words) in enumerate(told) for m in range(len(words))
    ]
    places = sorted(places, key=lambda place: place[2])[:MOST_WORDS]
    told = sorted({attribute for record in pair for attribute, words in record if words})
    asked = [pair]
    for attribute in told:
        one, other = ([part for part in record if part[0] != attribute] for record in pair)
        asked.append((one, other))
    asked += [_without(pair, *place) for place in places]
    found = log_odds_of(matcher, reader, asked).tolist()
    whole, rest = found[0], iter(found[1:])
    attributes = {reader.attributes[one]: whole - next(rest) for one in told}
    words = []
    for side, n, m in places:
        attribute, said = pair[side][n]
        words.append((("left", "right")[side], reader.attributes[attribute], said[m].text, whole - next(rest)))
    return Explanation(whole, attributes, words)


def _without(pair: tuple[Told, Told], side: int, n: int, m: int) -> tuple[Told, Told]:
    """Without one word."""
    records = [list(one) for one in pair]
    attribute, words = records[side][n]
    records[side][n] = (attribute, words[:m] + words[m + 1 :])
    return records[0], records[1]
