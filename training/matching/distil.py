"""What a matcher thinks of many pairs, as something that a cheaper one can learn.

A student that reads records apart reads each once, however many pairs it is in; what it is taught is how likely its
teacher finds each pair (DSE: Barkan et al., 'Scalable Attentive Sentence-Pair Modeling via Distilled Sentence
Embedding', AAAI 2020; arXiv 1908.05161), by cross-entropy. Any pairs will do, so that there are as many examples as
there is time for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from features.errors import InputError
from features.labelled_pairs import LabelledPairs
from features.record_pairs import RecordPairs
from serving.matching.matcher import Matcher

#: what a student is, where nothing else is said: read apart, with half of MiniLM's layers
STUDENT = (
    *("model.reads=apart", "model.encoder.pooling=mean", "model.encoder.layers=3", "model.overlap=false"),
    "optimiser.max_epochs=5",
)


def taught(
    teacher: Matcher,
    pairs: RecordPairs,
    most: int = 20_000,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> LabelledPairs:
    """Pairs with what a matcher thinks of them: four fifths to learn from, a tenth to choose by, and one to measure by.

    Args:
        teacher: The matcher.
        pairs: Such as will be asked about: candidates of a blocker. (m pairs)
        most: So many of them are judged, drawn at random.
        seed: Of the draw.
        progress: Called with how many are judged, and how many there are.

    Raises:
        InputError: The teacher finds none of them the same, or all.
    """
    if len(pairs) > most:
        pairs = pairs.take(np.sort(np.random.default_rng(seed).choice(len(pairs), most, replace=False)))
    said = teacher.score(pairs, progress=progress)
    if not 0 < said.same.sum() < len(pairs):
        which = "the same" if said.same.any() else "different"
        raise InputError(f"the matcher finds all {len(pairs):,} pairs {which}, and nothing is learned from that")
    chances = said.probabilities.astype(np.float32)
    told = RecordPairs(pairs.left, pairs.right, pairs.left_rows, pairs.right_rows, said.same, chances)
    drawn = LabelledPairs.drawn(f"what {teacher.resolved.name} says", told, validation=0.1, test=0.1, seed=seed)
    return dataclasses.replace(drawn, judged_by=f"{teacher.resolved.name}, build {teacher.manifest.build_id}")
