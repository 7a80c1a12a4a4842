"""Named entities by a spaCy pipeline, as recognisers: names that no rule finds (the extra `names`)."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from features.errors import InputError
from recsys.matching.recognisers import Recogniser, Span

#: how a recogniser of a pipeline is called: "spacy:en_core_web_lg"
PREFIX = "spacy:"


def named_entities(pipeline: str) -> Recogniser:
    """What an installed pipeline recognises, by its own labels in lower case ("product", "org", "gpe").

    Args:
        pipeline: The name of an installed package, such as "en_core_web_lg"; never a folder, because a matcher's
            bundle names it, and what a bundle names is not read from wherever it says.

    Raises:
        InputError: spaCy or the pipeline is not installed, or it recognises no entities.
    """
    read = _loaded(pipeline)

    def found(text: str) -> Iterator[Span]:
        for one in read(text).ents:
            yield Span(one.start_char, one.end_char, one.label_.lower(), " ".join(one.text.split()))

    return found


@functools.cache
def _loaded(pipeline: str) -> Any:
    try:
        import spacy
    except ImportError:
        raise InputError(f"{PREFIX}{pipeline} needs the extra 'names': pip install '.[names]'") from None
    if not spacy.util.is_package(pipeline):
        raise InputError(
            f"the spaCy pipeline {pipeline!r} is not installed; python -m spacy download {pipeline} brings it"
        )
    read = spacy.load(pipeline)
    if not {"ner", "entity_ruler", "span_ruler"} & set(read.pipe_names):
        raise InputError(f"the spaCy pipeline {pipeline!r} recognises no entities: it has {', '.join(read.pipe_names)}")
    return read
