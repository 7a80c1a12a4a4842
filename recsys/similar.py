"""Items like an item: those whose vectors point most nearly the same way."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from recsys.index import ItemIndex
from recsys.top_k import Chunks, full_ranking

#: a block of scores in float64 is 32 MB
_CHUNKS = Chunks(users=256, items=16_384)


def similar_items(
    index: ItemIndex, rows: np.ndarray, k: int, width: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The k items with the highest cosine to each of some items, the item itself left out.

    All vectors are read, some at a time, whatever the kind of index: the answer is exact over what the index stores.
    Sums are made in float64 and rounded, so that it does not change with what else is asked, and that items of one
    vector tie, in the order of their rows. A vector of zeros points nowhere: it is similar to nothing.

    Args:
        index: The catalogue's vectors. (N, D)
        rows: Item rows. (B,)
        k: How many; may be more than there are.
        width: How many of the first columns count, such as all but an item bias; all where not given.

    Returns:
        Cosines (B, K) float32 and item rows (B, K) int64, best first; -inf and -1 where no item is left.

    Example:
        >>> index = ItemIndex.build(np.array([[1, 0], [0, 5], [3, 4], [9, 1]], dtype=np.float32))
        >>> similar_items(index, np.array([0]), k=2)[1].tolist()
        [[3, 2]]
    """
    queries, sizes = _wide(index.vectors_of(rows)[:, :width])  # (B, D), (B,)
    queries /= torch.where(sizes > 0, sizes, torch.nan)[:, None]

    def cosines(asked: slice, items: slice) -> Tensor:
        vectors, sizes = _wide(index.stored(items.start, items.stop - items.start)[:, :width])  # (n, D), (n,)
        block = queries[asked] @ vectors.T  # (b, n)
        block /= sizes
        itself = torch.from_numpy(rows[asked]) - items.start  # (b,)
        here = ((itself >= 0) & (itself < len(vectors))).nonzero()[:, 0]
        block[here, itself[here]] = -torch.inf
        return block.float().nan_to_num_(nan=-torch.inf, neginf=-torch.inf)  # where either points nowhere

    ranking = full_ranking(cosines, len(rows), len(index), k, chunks=_CHUNKS)
    return ranking.scores.numpy(), ranking.rows.numpy()


def _wide(vectors: np.ndarray) -> tuple[Tensor, Tensor]:
    """Vectors in float64, and their lengths. (M, D) -> (M, D), (M,)"""
    wide = torch.from_numpy(vectors.astype(np.float64))
    return wide, torch.linalg.vector_norm(wide, dim=1)
