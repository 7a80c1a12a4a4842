"""Losses of retrieval, of two-tower and of next-item models alike: which of all items did the user take?

All have the signature of `Loss`, and return a mean over targets in nats: of a softmax the cross-entropy of the target,
of a yes or no for each item the binary cross-entropies of the target and its k negatives, divided by k + 1. They differ
in the items that a target is told from, and in how:

=============== =============================================================== =====================================
name            a target is told from                                           by
=============== =============================================================== =====================================
full-softmax    the whole catalogue                                             softmax
in-batch        the other targets of the batch                                  softmax, corrected for popularity
mixed           the other targets of the batch, and items drawn uniformly       softmax, corrected for popularity
sampled-softmax items drawn for the whole batch                                 softmax, corrected if asked
gbce            items drawn uniformly for the whole batch                       a yes or no for each item, calibrated
bce             one item drawn uniformly for each target                        a yes or no for each item
=============== =============================================================== =====================================
"""

from __future__ import annotations

from features.errors import InputError
from features.settings import check_settings
from recsys.losses.binary import BinaryCrossEntropy, GeneralisedBCE
from recsys.losses.full_softmax import EncodeItems, FullSoftmax, Loss
from recsys.losses.sampled_softmax import InBatchSoftmax, MixedSoftmax
from recsys.losses.shared_negatives import SampledSoftmax

__all__ = [
    "BinaryCrossEntropy",
    "EncodeItems",
    "FullSoftmax",
    "GeneralisedBCE",
    "InBatchSoftmax",
    "Loss",
    "MixedSoftmax",
    "SampledSoftmax",
    "make_loss",
]

_LOSSES = {
    "full-softmax": FullSoftmax,
    "in-batch": InBatchSoftmax,
    "mixed": MixedSoftmax,
    "sampled-softmax": SampledSoftmax,
    "gbce": GeneralisedBCE,
    "bce": BinaryCrossEntropy,
}


def make_loss(name: str, **settings: object) -> Loss:
    """A loss by its name.

    Args:
        name: One of the table above.
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
