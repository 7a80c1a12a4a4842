"""What `matching.py` compares: data sets, the parts of Ditto that are put on one by one, and published figures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from features.errors import InputError
from features.labelled_pairs import LabelledPairs
from features.record_pairs import RecordPairs
from features.records import Records
from features.sources import load_pairs
from recsys.text_encoders import TextEncoderConfig
from recsys.text_encoders.folders import folder_of


@dataclass(frozen=True)
class Case:
    """A data set.

    Args:
        folder: Under `em-pairs`.
        size: Of a data set that comes in several.
        epochs: Of fine-tuning.
        seeds: How many runs.
        published: F1 of Ditto (RoBERTa; PVLDB 14(1), table 5 and section 4.3), in percent.
        settings: What else its runs are told.
    """

    folder: str
    size: str = ""
    epochs: int = 5
    seeds: int = 3
    published: float | None = None
    settings: tuple[str, ...] = ()


CASES: dict[str, Case] = {
    "abt-buy": Case("Textual/Abt-Buy", epochs=5, seeds=1, published=89.33),
    "amazon-google": Case("Structured/Amazon-Google", epochs=5, published=75.58),
    "dblp-acm": Case("Structured/DBLP-ACM", epochs=4, seeds=1, published=98.99),
    "wdc-computers-small": Case("wdc/computers", "small", epochs=5, published=80.76),
    "wdc-computers-medium": Case("wdc/computers", "medium", epochs=5, seeds=1),
    "beer": Case("Structured/Beer", epochs=15, seeds=5, published=94.37),
    "itunes-amazon": Case("Structured/iTunes-Amazon", epochs=15, seeds=5, published=97.06),
    "dirty-itunes-amazon": Case("Dirty/iTunes-Amazon", epochs=15, seeds=5, published=95.65),
    "fodors-zagats": Case("Structured/Fodors-Zagats", epochs=15, seeds=5, published=100.0),
}

#: where the parts are put on one by one
ABLATED = ("amazon-google", "dirty-itunes-amazon", "wdc-computers-small")

_KNOWLEDGE = ('model.knowledge.recognisers=["date","price","unit","phone","code","number"]',)
_SHORT = ("model.max_tokens=64",)  # half the pairs of longer sets are cut at that
_SUMMARISE = (*_SHORT, "model.summarise=true")
_MIXDA = ("augment=all", "mixda=true")
_APART = ("model.reads=apart", "model.encoder.pooling=mean")

#: a fine-tune with no tricks, and no trees; and the matcher as it comes
PLAIN, FULL = "plain", "full"

#: how the language model is trained, by what cases are called: the others are added to the full one, one by one.
#: Summaries are compared with what is cut at the same length, contrast with records that are read apart without it.
PARTS: dict[str, tuple[str, ...]] = {
    PLAIN: ("model.head=pooled", "average_epochs=0"),
    FULL: (),
    "knowledge": _KNOWLEDGE,
    "short": _SHORT,
    "summarise": _SUMMARISE,
    "mixda": _MIXDA,
    "apart": _APART,
    "supcon": (*_APART, "contrast.epochs=5"),
    "all": (*_KNOWLEDGE, "model.summarise=true", *_MIXDA),
}

#: of quick forms
QUICK = ("optimiser.max_epochs=1", "model.max_tokens=32")

#: what parts are compared with besides these, of one seed each
CONTROLS = ("short", "apart")


def tiny_encoder(folder: Path) -> str:
    """A language model of random weights with the bundled one's words, for quick forms; its folder."""
    import transformers

    source = folder_of(TextEncoderConfig().model)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.AutoConfig.from_pretrained(source, **sizes)
    transformers.AutoModel.from_config(config).save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    return str(folder)


def read(name: str, data_root: Path | None) -> LabelledPairs:
    """A data set by name.

    Raises:
        InputError: It is not there.
    """
    if name == "generated":
        return generated()
    if data_root is None:
        raise InputError("--data-root FOLDER is needed (a folder that holds em-pairs)")
    case = CASES[name]
    return load_pairs("serialised-pairs", data_root / "em-pairs" / case.folder, size=case.size)


def generated(n: int = 24, seed: int = 0) -> LabelledPairs:
    """Things of two words and a number, told by two shops that write them each in its own way."""
    random = np.random.default_rng(seed)
    words = ["rose", "soap", "lamp", "chair", "ink", "pen", "cup", "oil"]
    things = [(random.choice(words), random.choice(words), int(random.integers(10, 99))) for _ in range(n)]
    left = [f"{one} {two} {size} g" for one, two, size in things]
    right = [f"{two}, {one} ({size}g)" for one, two, size in things]
    tables = [
        Records.of(name, pl.DataFrame({"id": range(n), "title": said}))
        for name, said in (("left", left), ("right", right))
    ]
    other = (np.arange(n) + random.integers(1, n, n)) % n
    lefts, rights = np.tile(np.arange(n), 2), np.concatenate([np.arange(n), other])
    same = np.array([things[one] == things[two] for one, two in zip(lefts, rights, strict=True)])
    return LabelledPairs.drawn("generated", RecordPairs(*tables, lefts, rights, same), seed=seed)
