"""What a matcher would say of pairs, from how alike their records are: a small network that has learned its verdicts.

A matcher reads the words of each pair; similarities of all candidates are there in seconds. What the matcher says of
some candidates teaches how much each similarity tells about these very tables (distillation, as in DSE: Barkan et al.,
AAAI 2020; arXiv 1908.05161). Which pairs it is asked about is active learning by uncertainty (Lewis and Gale, 1994).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from features.errors import InputError
from recsys.matching.similarities import Similarities, on_scale, scale_of

#: units of the hidden layer, and steps over all examples
_HIDDEN, _STEPS = 32, 400
#: of pairs that are judged at a time
_CHUNK = 1 << 16
#: of AdamW
_RATE, _DECAY = 1e-2, 1e-2


@dataclass(frozen=True)
class Surrogate:
    """A network with one hidden layer of tanh over similarities and over which of them are told.

    Args:
        names: Of the similarities. (F,)
        means: Of each; what is not told counts as this. (F,)
        deviations: Of each. (F,)
        told: How often each is told. (F,)
        hidden: Weights and, last, what is added. (H, 2 F + 1)
        out: The same. (H + 1,)
    """

    names: tuple[str, ...]
    means: tuple[float, ...]
    deviations: tuple[float, ...]
    told: tuple[float, ...]
    hidden: tuple[tuple[float, ...], ...]
    out: tuple[float, ...]

    def log_odds(self, alike: Similarities) -> np.ndarray:
        """What the matcher would say, 0 at its threshold. (m, F) -> (m,) float64

        Raises:
            InputError: Other similarities than it has learned from.
        """
        if alike.names != self.names:
            raise InputError(f"similarities of {', '.join(alike.names)} were given to what has learned from others")
        hidden, out = np.array(self.hidden), np.array(self.out)
        scale = [np.array(one) for one in (self.means, self.deviations, self.told)]
        found = np.zeros(len(alike.values))
        for start in range(0, len(found), _CHUNK):
            part = slice(start, start + _CHUNK)
            inputs = _inputs(alike.values[part], *scale)
            found[part] = np.tanh(inputs @ hidden[:, :-1].T + hidden[:, -1]) @ out[:-1] + out[-1]
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and lists; see `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Surrogate:
        """The inverse of `to_json`.

        Raises:
            InputError: Something else.
        """
        try:
            hidden = tuple(tuple(one) for one in data["hidden"])
            return cls(**{name: tuple(one) for name, one in data.items() if name != "hidden"}, hidden=hidden)
        except (TypeError, KeyError) as error:
            raise InputError(f"this is nothing that was learned from a matcher: {error}") from None


def taught(alike: Similarities, chances: np.ndarray, seed: int = 0) -> Surrogate:
    """Learns a matcher's verdicts, by cross-entropy.

    Args:
        alike: Of the pairs that it was asked about. (m, F)
        chances: What it said, 0.5 at its threshold. (m,)
        seed: Of first weights.

    Raises:
        InputError: No pair.
    """
    import torch  # only where a matcher is at hand, which needs it anyway
    from torch.nn.functional import binary_cross_entropy_with_logits

    if not len(chances):
        raise InputError("there are no verdicts to learn from")
    told = (~np.isnan(alike.values)).mean(axis=0)
    means, deviations = scale_of(alike.values)
    inputs = torch.from_numpy(_inputs(alike.values, means, deviations, told)).float()
    targets = torch.from_numpy(np.asarray(chances, np.float32))
    random = torch.Generator().manual_seed(seed)
    width = inputs.shape[1]
    shapes = (((_HIDDEN, width), width**-0.5), ((_HIDDEN,), 0.1), ((_HIDDEN,), _HIDDEN**-0.5), ((1,), 0.0))
    weights = [torch.randn(shape, generator=random) * scale for shape, scale in shapes]
    optimiser = torch.optim.AdamW([one.requires_grad_() for one in weights], lr=_RATE, weight_decay=_DECAY)
    first, first_added, second, second_added = weights
    for _ in range(_STEPS):
        optimiser.zero_grad()
        said = torch.tanh(inputs @ first.T + first_added) @ second + second_added
        binary_cross_entropy_with_logits(said, targets).backward()
        optimiser.step()
    hidden = torch.cat([first, first_added[:, None]], dim=1).tolist()
    return Surrogate(
        alike.names,
        means=tuple(means.tolist()),
        deviations=tuple(deviations.tolist()),
        told=tuple(told.tolist()),
        hidden=tuple(map(tuple, hidden)),
        out=tuple(torch.cat([second, second_added]).tolist()),
    )


def _inputs(values: np.ndarray, means: np.ndarray, deviations: np.ndarray, told: np.ndarray) -> np.ndarray:
    """(m, F) -> (m, 2 F) float64: on one scale, and whether each is told, less how often it is."""
    return np.concatenate([on_scale(values, means, deviations), ~np.isnan(values) - told], axis=1)
