"""Softmax losses of retrieval: which of all items did the user take?

All have the signature of `Loss`, and return the mean over targets of the cross-entropy in nats. They differ in the
items that a target is told from: the whole catalogue, the other targets of the batch, or those and uniform draws.
"""

from __future__ import annotations

from features.errors import InputError
from features.settings import check_settings
from recsys.full_softmax import EncodeItems, FullSoftmax, Loss
from recsys.sampled_softmax import InBatchSoftmax, MixedSoftmax

__all__ = ["EncodeItems", "FullSoftmax", "InBatchSoftmax", "Loss", "MixedSoftmax", "make_loss"]

_LOSSES = {"full-softmax": FullSoftmax, "in-batch": InBatchSoftmax, "mixed": MixedSoftmax}


def make_loss(name: str, **settings: object) -> Loss:
    """A loss by its name.

    Args:
        name: "full-softmax", "in-batch" or "mixed".
        settings: What its class takes.

    Raises:
        InputError: There is no such loss, it has no such setting, or a setting is out of range.

    Example:
        >>> make_loss("mixed", temperature=0.1).n_uniform
        1024
    """
    if name not in _LOSSES:
        raise InputError(f"there is no loss {name!r}, only {', '.join(_LOSSES)}")
    check_settings(_LOSSES[name], settings, f"the loss {name!r}")
    return _LOSSES[name](**settings)
