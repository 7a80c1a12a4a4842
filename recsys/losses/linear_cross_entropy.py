"""Cross-entropy of a softmax over a whole catalogue, without the matrix of all queries' logits of all items."""

from __future__ import annotations

import torch
from torch import Tensor

#: so many logits are held at a time: what stays in a processor's cache (8 MB, twice), and what keeps a GPU busy
_HELD = {"cpu": 2**21, "cuda": 2**26}

#: a matrix product of fewer rows is slow
_FEWEST_ROWS = 64

#: chunks of items that are walked twice leave room for so many rows
_ROWS_OF_A_CHUNK = 256

#: rows of logits start at multiples of so many: matrix products into rows of odd lengths take up to four times as long
_ALIGNED = 16


def linear_cross_entropy(
    queries: Tensor, vectors: Tensor, targets: Tensor, temperature: float = 1.0, items_per_chunk: int | None = None
) -> Tensor:
    """The sum over queries of log(sum over items of e^score) - the target's score, in nats.

    The gradients are computed in the same pass as the loss, chunk by chunk, and kept until they are asked for, so that
    a chunk's logits are made once, and forgotten. Where the catalogue is larger than `items_per_chunk`, each query's
    items are walked twice: once for their sum, and once for the gradient. Memory is that of a chunk and of the two
    gradients. The idea is that of Liger's fused linear cross-entropy (Hsu et al., arXiv 2410.10989) and of Cut
    Cross-Entropy (Wijmans et al., arXiv 2411.09009), in plain matrix products.

    Args:
        queries: What asks. (T, D)
        vectors: The items. (N, D)
        targets: The item row that each query should find. (T,) int64
        temperature: Divides the scores.
        items_per_chunk: Logits of at most so many items are held at a time; None: of all N.

    Returns:
        The sum, in float32 at least, even under autocast; 0 without queries.

    Raises:
        NotImplementedError: In the backward pass, if that is to be differentiated again.

    Example:
        >>> linear_cross_entropy(torch.zeros(2, 3), torch.eye(3), torch.tensor([0, 2]))
        tensor(2.1972)
    """
    exact = torch.promote_types(queries.dtype, torch.float32)
    # asked here, because inside a Function autograd is always off
    with_gradients = torch.is_grad_enabled() and (queries.requires_grad or vectors.requires_grad)
    n_columns = max(1, len(vectors))
    if items_per_chunk is not None and items_per_chunk < n_columns:
        n_columns = min(items_per_chunk, _held(queries) // _ROWS_OF_A_CHUNK)
    with torch.autocast(queries.device.type, enabled=False):
        return _LinearCrossEntropy.apply(
            queries.to(exact), vectors.to(exact), targets, 1 / temperature, n_columns, with_gradients
        )


class _LinearCrossEntropy(torch.autograd.Function):
    """See `linear_cross_entropy`; nothing here waits for a GPU."""

    @staticmethod
    def forward(
        ctx, queries: Tensor, vectors: Tensor, targets: Tensor, scale: float, n_columns: int, with_gradients: bool
    ) -> Tensor:
        n_rows = min(max(1, len(queries)), max(_FEWEST_ROWS, _held(queries) // n_columns))
        space = queries.new_empty(2, n_rows * _aligned(n_columns))
        losses = queries.new_empty(len(queries))
        grads = (torch.zeros_like(queries), torch.zeros_like(vectors)) if with_gradients else None
        for start in range(0, len(queries), n_rows):
            here = slice(start, start + n_rows)
            rows = _Rows(queries[here] * scale, vectors, targets[here], space, n_columns)
            losses[here] = rows.losses()
            if grads is not None:
                rows.add_gradients(queries[here], grads[0][here], grads[1])
        if grads is not None:
            ctx.save_for_backward(*grads)
            ctx.scale = scale
        return losses.sum()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # torch's once_differentiable says nothing where the gradient is a constant
            raise NotImplementedError("linear_cross_entropy has no second derivative: its gradients are constants")
        factor = gradient * ctx.scale
        wanted = zip(ctx.saved_tensors, ctx.needs_input_grad, strict=False)
        return *(one * factor if needed else None for one, needed in wanted), None, None, None, None


class _Rows:
    """A chunk of R queries (already scaled), and all N items in chunks of C."""

    total: Tensor  # log of each query's sum, (R, 1), which `losses` leaves

    def __init__(self, queries: Tensor, vectors: Tensor, targets: Tensor, space: Tensor, n_columns: int) -> None:
        self.queries, self.vectors, self.targets, self.space = queries, vectors, targets, space
        self.starts = range(0, len(vectors), n_columns)
        self.n_columns = n_columns

    def losses(self) -> Tensor:
        """Each query's loss. (R,)"""
        total: Tensor | None = None
        positive: Tensor | None = None
        for start in self.starts:
            logits = self._logits(start)
            columns, inside = self._targets(start)
            found = logits.gather(1, columns) * inside  # (R, 1)
            probabilities = torch.softmax(logits, 1, out=self._buffer(1, start))
            # of the greatest, score - log probability is the log of the sum; of no other is it exact
            here = logits.amax(1, keepdim=True) - probabilities.amax(1, keepdim=True).log()
            total = here if total is None else torch.logaddexp(total, here)
            positive = found if positive is None else positive + found
        assert total is not None and positive is not None  # a target is an item, so there are some
        self.total = total
        return (total - positive).flatten()

    def add_gradients(self, queries: Tensor, grad_queries: Tensor, grad_vectors: Tensor) -> None:
        """Adds each score's gradient, (probability - whether it is the target), times what it was the product of."""
        for start in self.starts:
            probabilities = self._buffer(1, start)
            if len(self.starts) > 1:  # one chunk of items is still there from the losses
                torch.sub(self._logits(start), self.total, out=probabilities).exp_()
            columns, inside = self._targets(start)
            probabilities = probabilities[:, : self._width(start)]
            probabilities.scatter_add_(1, columns, -inside.to(probabilities.dtype))
            chunk = slice(start, start + self.n_columns)
            grad_queries.addmm_(probabilities, self.vectors[chunk])
            grad_vectors[chunk].addmm_(probabilities.T, queries)

    def _width(self, start: int) -> int:
        return min(self.n_columns, len(self.vectors) - start)

    def _buffer(self, which: int, start: int) -> Tensor:
        """Room for a chunk of items, contiguous, with up to 15 columns to spare. (R, C + spare)"""
        shape = len(self.queries), _aligned(self._width(start))
        return self.space[which, : shape[0] * shape[1]].view(shape)

    def _logits(self, start: int) -> Tensor:
        """In the first buffer; columns to spare are items of no probability. (R, C + spare)"""
        buffer, width = self._buffer(0, start), self._width(start)
        buffer[:, width:] = -torch.inf
        torch.mm(self.queries, self.vectors[start : start + width].T, out=buffer[:, :width])
        return buffer

    def _targets(self, start: int) -> tuple[Tensor, Tensor]:
        """Each query's target as a column of the chunk, and whether it is there at all. (R, 1), (R, 1)"""
        columns = (self.targets - start)[:, None]
        last = self._width(start) - 1
        return columns.clamp(0, last), (columns >= 0) & (columns <= last)


def _held(queries: Tensor) -> int:
    return _HELD["cpu" if queries.device.type == "cpu" else "cuda"]


def _aligned(n: int) -> int:
    return -(-n // _ALIGNED) * _ALIGNED
