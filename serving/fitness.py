"""Whether another generator may take the place of the one that answers."""

from __future__ import annotations

from serving.candidates import CandidateGenerator
from serving.checks import index_recall, signature_changes
from serving.golden import replay

#: users that the index is searched for: enough to tell a broken one
_QUERIES = 64


def fitness(old: CandidateGenerator, new: CandidateGenerator, least_recall: float) -> list[str]:
    """What is wrong with another generator; nothing where it may answer from now on.

    Args:
        old: Which answers.
        new: Which would.
        least_recall: What an approximate index must find of an exact one's.
    """
    return [*signature_changes(old.bundle, new.bundle), *unfit(new, least_recall)]


def unfit(new: CandidateGenerator, least_recall: float) -> list[str]:
    """What is wrong with a generator by itself.

    Args:
        new: Which is to answer.
        least_recall: What an approximate index must find of an exact one's.
    """
    wrong = replay(new)[:3]
    if new.bundle.index.config.kind != "exact":
        recall = index_recall(new, queries=_QUERIES)
        if recall < least_recall:
            wrong.append(f"its index finds {recall:.4f} of what an exact one does, and {least_recall:g} is asked")
    return wrong
