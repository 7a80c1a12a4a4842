"""Tables of records for `blocking.py` and `resolve_scale.py`: published ones with known matches, and generated ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from features.labelled_pairs import LabelledPairs
from features.record_pairs import RecordPairs
from features.records import Records
from features.sources import load_pairs
from recsys.entities.clusters import components
from recsys.text_encoders import TextEncoderConfig
from recsys.text_encoders.folders import folder_of

#: published tables, under em-tables
TABLES = {"abt-buy": "Abt-Buy", "amazon-google": "Amazon-Google", "dblp-acm": "DBLP-ACM"}

_LETTERS = np.array(list("abcdefghijklmnopqrstuvwxyz"))


@dataclass(frozen=True, eq=False)
class Linked:
    """Two tables, and which of their records are known to be the same.

    Args:
        left: One table.
        right: The other one.
        matches: Known ones, each once.
        labelled: Labelled pairs in parts, where there are any.
    """

    left: Records
    right: Records
    matches: RecordPairs
    labelled: LabelledPairs | None = None


def read(name: str, data_root: Path) -> Linked:
    """A published pair of tables.

    fodors-zagats has no labelled pairs, and a column "class" that is the solution: it is left out.
    """
    if name == "fodors-zagats":
        folder = data_root / "em-tables" / "Fodors-Zagats"
        tables = [
            Records.of(one, pl.read_csv(folder / f"{one}.csv", infer_schema=False, encoding="utf8-lossy").drop("class"))
            for one in ("fodors", "zagats")
        ]
        same = pl.read_csv(folder / "matches_fodors_zagats.csv", infer_schema=False)
        matches = RecordPairs.of(*tables, same, columns=("fodors_id", "zagats_id"))
        return Linked(*tables, matches)
    data = load_pairs("deepmatcher", data_root / "em-tables" / TABLES[name])
    left, right = data.train.left, data.train.right
    rows = np.concatenate(
        [np.stack([one.left_rows, one.right_rows])[:, one.labels] for one in data.parts.values()], axis=1
    )
    return Linked(left, right, RecordPairs(left, right, *np.unique(rows, axis=1)), data)


def by_component(data: Linked, seed: int = 0) -> tuple[LabelledPairs, Linked]:
    """Records in three parts, no known match across two of them: 60% to learn from, 20% to choose by, 20% to test.

    Returns:
        Labelled pairs whose records are both of one part, and the test records as tables of their own.
    """
    random, n = np.random.default_rng(seed), len(data.left)
    label = components(n + len(data.right), data.matches.left_rows, data.matches.right_rows + n)
    part = np.array(["train", "validation", "test"])[
        np.searchsorted([0.6, 0.8], random.random(label.max() + 1), side="right")
    ][label]
    sides = part[:n], part[n:]
    pairs = list(data.labelled.parts.values())
    rows = [np.concatenate([getattr(one, side) for one in pairs]) for side in ("left_rows", "right_rows")]
    every = RecordPairs(data.left, data.right, *rows, np.concatenate([one.labels for one in pairs]))
    of = [one[some] for one, some in zip(sides, rows, strict=True)]
    labelled = LabelledPairs(
        data.labelled.name,
        **{
            name: every.take(np.flatnonzero((of[0] == name) & (of[1] == name)))
            for name in ("train", "validation", "test")
        },
    )
    kept = [np.flatnonzero(one == "test") for one in sides]
    left, right = data.left.take(kept[0]), data.right.take(kept[1])
    test = labelled.test
    moved = [np.searchsorted(some, side) for some, side in zip(kept, (test.left_rows, test.right_rows), strict=True)]
    mine = RecordPairs(left, right, *moved, test.labels)
    known = np.isin(data.matches.left_rows, kept[0])  # a match is in one part with both its records
    same = [
        np.searchsorted(some, side[known])
        for some, side in zip(kept, (data.matches.left_rows, data.matches.right_rows), strict=True)
    ]
    return labelled, Linked(left, right, RecordPairs(left, right, *same), LabelledPairs("test", mine, mine, mine))


def generated(n: int, seed: int = 0, shared: float = 0.1, described: int = 0) -> Linked:
    """Two tables of n products; a tenth of them is in both, told with typing errors, other orders, and gaps.

    Titles are of English words, drawn as often as words of a rank are; brands and codes are invented. Three in ten
    products are variants of another one: they differ by their code and price alone.

    Args:
        n: Products of each table.
        seed: Of the draws.
        shared: Share of products that are in both.
        described: Words of a description that follows the title.
    """
    random = np.random.default_rng(seed)
    words = _english()
    chance = 1 / np.arange(10, len(words) + 10)
    chance /= chance.sum()
    brands = _words(random, max(50, n // 100))
    total = 2 * n - round(shared * n)
    titles = words[random.choice(len(words), (total, 4), p=chance)]
    lengths = random.integers(2, 5, total)
    if described:
        titles = np.concatenate([titles, words[random.choice(len(words), (total, described), p=chance)]], axis=1)
        lengths += described
    brand, price = random.integers(len(brands), size=total), random.lognormal(3, 1, total)
    of = np.where(random.random(total) < 0.3, random.integers(total, size=total), np.arange(total))  # variants
    code = [f"{''.join(random.choice(_LETTERS, 2))}-{number}" for number in random.integers(100, 99_999, total)]
    rows = [
        (" ".join(titles[k, : lengths[k]]), brands[brand[k]], code[thing], f"{price[thing]:.2f}")
        for thing, k in enumerate(of)
    ]
    both = round(shared * n)
    left = [*rows[:both], *rows[both:n]]
    right = [*(_told_otherwise(row, random) for row in rows[:both]), *(_gaps(row, random) for row in rows[n:])]
    order = random.permutation(n)
    place = np.empty(n, np.int64)
    place[order] = np.arange(n)
    tables = [_records("left", left), _records("right", [right[k] for k in order])]
    return Linked(*tables, RecordPairs(*tables, np.arange(both), place[:both]))


def labelled(data: Linked, candidates: RecordPairs, most: int, seed: int = 0) -> LabelledPairs:
    """Candidates with the truth for labels, a quarter of them matches, in parts."""
    random = np.random.default_rng(seed)
    same = np.isin(candidates.codes(), data.matches.codes())
    right, wrong = (random.permutation(np.flatnonzero(same == one)) for one in (True, False))
    some = np.sort(np.concatenate([right[: most // 4], wrong[: most - most // 4]]))
    pairs = candidates.take(some)
    told = RecordPairs(pairs.left, pairs.right, pairs.left_rows, pairs.right_rows, same[some])
    return LabelledPairs.drawn("generated", told, seed=seed)


def _records(name: str, rows: list[tuple[str, str, str, str]]) -> Records:
    frame = pl.DataFrame(rows, schema=["title", "brand", "code", "price"], orient="row")
    return Records.of(name, frame.with_columns(id=pl.int_range(len(rows))))


def _english() -> np.ndarray:
    """The words of four to ten letters that the bundled language model knows, without the hundred most common."""
    import transformers

    known = transformers.AutoTokenizer.from_pretrained(folder_of(TextEncoderConfig().model)).get_vocab()
    words = [one for one in sorted(known, key=known.__getitem__) if one.isascii() and one.isalpha()]
    return np.array([one for one in words if 4 <= len(one) <= 10][100:])


def _words(random: np.random.Generator, n: int) -> np.ndarray:
    """Different words of four to nine letters. (n,)"""
    made = ["".join(random.choice(_LETTERS, size)) for size in random.integers(4, 10, n + n // 10)]
    return np.array(list(dict.fromkeys(made))[:n])


def _told_otherwise(row: tuple[str, str, str, str], random: np.random.Generator) -> tuple[str, str, str, str]:
    title, brand, code, price = row
    told = title.split()
    if random.random() < 0.4:
        random.shuffle(told)
    if random.random() < 0.3 and len(told) > 2:
        del told[int(random.integers(len(told)))]
    if random.random() < 0.3:
        told.append(brand)
    if random.random() < 0.4:
        told.append(code)
    title = " ".join(told)
    for _ in range(int(random.integers(0, 4))):
        title = _mistyped(title, random)
    code = code.replace("-", "") if random.random() < 0.5 else code
    price = f"{float(price) * random.uniform(0.95, 1.05):.2f}" if random.random() < 0.3 else price
    return _gaps((title, brand, code, price), random)


def _gaps(row: tuple[str, str, str, str], random: np.random.Generator) -> tuple[str, str, str, str]:
    """With what is missing."""
    title, *rest = row
    return title, *("" if random.random() < share else one for one, share in zip(rest, (0.3, 0.4, 0.2), strict=True))


def _mistyped(text: str, random: np.random.Generator) -> str:
    """With a letter left out, put in, or another one."""
    at, kind = int(random.integers(len(text))), int(random.integers(3))
    letter = "" if kind == 0 else str(random.choice(_LETTERS))
    return text[:at] + letter + text[at + (kind != 1) :]
