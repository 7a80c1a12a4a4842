"""Whether another generator may take the place of the one that answers."""

from __future__ import annotations

from serving.candidates import CandidateGenerator


def fitness(old: CandidateGenerator, new: CandidateGenerator, least_recall: float) -> list[str]:
    """What is wrong with another generator; nothing where it may answer from now on.

    Args:
        old: Which answers.
        new: Which would.
        least_recall: What an approximate index must find of an exact one's.
    """
    wrong = []
    for name in ("user_ids", "item_ids"):
        one, other = getattr(old, name), getattr(new, name)
        if one.integers != other.integers:
            kinds = ["integers" if ids.integers else "strings" for ids in (one, other)]
            wrong.append(f"its {name} are {kinds[1]}, and those of the model that answers are {kinds[0]}")
    return wrong
