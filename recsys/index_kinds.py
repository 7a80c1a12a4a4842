"""What each kind of item index is in FAISS: how it is made, how widely it is searched, where its vectors are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch  # noqa: F401  before faiss: in the other order, OpenMP runtimes have been seen to crash (faiss#2555)

import faiss  # isort: skip

from features.errors import InputError
from recsys.precision import Precision
from recsys.row_set import RowSet

_CODES = faiss.ScalarQuantizer
#: queries from which on one product of matrices beats what FAISS does for each, if nothing has to be decoded
_MANY = 8

#: so few items are compared sooner than an index is asked
_FEW = 4096
_BYTES = {"fp32": 4, "fp16": 2, "int8": 1}


@dataclass(frozen=True)
class IndexConfig:
    """How item vectors are searched.

    Args:
        kind: "exact"; "hnsw" (a graph: Malkov and Yashunin, TPAMI 2020); or "ivf" (inverted lists of a k-means).
        neighbours: HNSW: links of each item (M).
        ef_construction: HNSW: how widely the build looks for links.
        ef_search: HNSW: how widely a search looks; at least as many as are asked for are looked at anyway.
        lists: IVF: number of lists; 0 takes four times the square root of N.
        probes: IVF: lists that a search reads.
        recall_at: The K of the recall against exact search that is measured at build.
        recall_queries: How many queries it is measured on, at most.
    """

    kind: Literal["exact", "hnsw", "ivf"] = "exact"
    neighbours: int = 32
    ef_construction: int = 200
    ef_search: int = 128
    lists: int = 0
    probes: int = 16
    recall_at: int = 100
    recall_queries: int = 1000

    def __post_init__(self) -> None:
        if self.kind not in ("exact", "hnsw", "ivf"):
            raise InputError(f"index.kind is {self.kind!r}, not 'exact', 'hnsw' or 'ivf'")
        for name in ("neighbours", "ef_construction", "ef_search", "probes", "recall_at", "recall_queries"):
            if getattr(self, name) < 1:
                raise InputError(f"index.{name} is at least 1, got {getattr(self, name)}")
        if self.lists < 0:
            raise InputError(f"index.lists is 0 or more, got {self.lists}")


def empty_index(vectors: np.ndarray, config: IndexConfig, precision: Precision = "fp32") -> Any:
    """A FAISS index of inner products, trained where it needs that, without items. (N, D) float32."""
    dim, metric = vectors.shape[1], faiss.METRIC_INNER_PRODUCT
    # of 8 bits: each column's range, in 255 steps
    code = None if precision == "fp32" else {"fp16": _CODES.QT_fp16, "int8": _CODES.QT_8bit}[precision]
    if config.kind == "exact":
        index = faiss.IndexFlatIP(dim) if code is None else faiss.IndexScalarQuantizer(dim, code, metric)
        index.train(vectors)
        return index
    if config.kind == "hnsw":
        links = config.neighbours
        index = faiss.IndexHNSWFlat(dim, links, metric) if code is None else faiss.IndexHNSWSQ(dim, code, links, metric)
        index.hnsw.efConstruction = config.ef_construction
        index.train(vectors)
        return index
    # with fewer than 39 vectors a list, FAISS's k-means complains, rightly
    lists = min(config.lists or round(4 * len(vectors) ** 0.5), max(1, len(vectors) // 39))
    middles = faiss.IndexFlatIP(dim)
    index = (
        faiss.IndexIVFFlat(middles, dim, lists, metric)
        if code is None
        else faiss.IndexIVFScalarQuantizer(middles, dim, lists, code, metric)
    )
    threads = faiss.omp_get_max_threads()
    if vectors.size * lists < 1 << 30:
        # k-means is many short parallel steps; on a busy machine, waiting for each other costs two threads 20 times
        # what one needs
        faiss.omp_set_num_threads(1)
    index.train(vectors)
    faiss.omp_set_num_threads(threads)
    return index


def reads_each(
    index: Any,
    config: IndexConfig,
    n_queries: int,
    fetch: int,
    effort: float,
    among: RowSet | None,
    plain: bool,
    everywhere: bool = False,
) -> bool:
    """Whether each item that may be answered is compared, by its vector, instead of asking the index.

    That is exact, and costs less where few of the items may be: an index goes past all the others as well.

    Args:
        index: Of N items.
        config: How it is searched.
        n_queries: How many ask at once; of an approximate index, what one is answered does not depend on it.
        fetch: How many candidates each wants.
        effort: As a share of the settings.
        among: The item rows that may be answered; all where not given.
        plain: Whether the vectors lie there as they are.
        everywhere: Nothing is to be missed.
    """
    if everywhere and config.kind == "hnsw":  # which has no such thing as all lists
        return True
    if among is None:
        # FAISS takes as long for each of many queries as for one, and a product of matrices does not
        return plain and config.kind == "exact" and n_queries >= _MANY
    if len(among) <= _FEW:
        return True
    if config.kind == "hnsw":
        # a way through the graph is as much longer as fewer items pass, and each step reads about half of the links
        looks = max(math.ceil(effort * config.ef_search), fetch) * index.ntotal / len(among)
        return len(among) <= looks * config.neighbours / 2
    if config.kind == "ivf":
        return _probes(index, config, effort, among) == index.nlist
    # from four queries on, one product of matrices beats FAISS's loop over those that pass
    return 4 * len(among) <= index.ntotal * n_queries


def search_settings(
    index: Any,
    config: IndexConfig,
    fetch: int,
    effort: float = 1.0,
    among: RowSet | None = None,
    everywhere: bool = False,
) -> Any:
    """How widely to look, and where; given with each search, because an index is shared by threads.

    Args:
        index: Of N items.
        config: How it is searched.
        fetch: How many candidates each query wants.
        effort: As a share of the settings; as much more as fewer items may be answered.
        among: The item rows that may be answered; all where not given.
        everywhere: Read all lists, where there are lists.
    """
    only = {} if among is None else {"sel": faiss.IDSelectorBitmap(among.bits)}
    share = 1.0 if among is None else len(among) / index.ntotal
    if config.kind == "hnsw":
        return faiss.SearchParametersHNSW(efSearch=math.ceil(max(effort * config.ef_search, fetch) / share), **only)
    if config.kind == "ivf":
        probes = index.nlist if everywhere else _probes(index, config, effort, among)
        return faiss.SearchParametersIVF(nprobe=probes, **only)
    return faiss.SearchParameters(**only) if only else None


def _probes(index: Any, config: IndexConfig, effort: float, among: RowSet | None) -> int:
    """How many lists are read: as many more as fewer items pass."""
    share = 1.0 if among is None else len(among) / index.ntotal
    return min(math.ceil(effort * config.probes / share), index.nlist)


def stored_vectors(index: Any, config: IndexConfig, precision: Precision = "fp32") -> np.ndarray | None:
    """The vectors inside an index, not a copy: it must outlive them. (N, D); None where they are coded or scattered.

    Raises:
        InputError: An index that stores its vectors in another precision.
    """
    flat = faiss.downcast_index(index.storage) if config.kind == "hnsw" else index
    size = flat.code_size
    if size != index.d * _BYTES[precision]:
        wanted = index.d * _BYTES[precision]
        raise InputError(f"its vectors take {size} bytes each, not the {wanted} of {index.d} numbers in {precision}")
    if config.kind == "ivf":
        index.make_direct_map()  # so that single vectors can be asked for
    if config.kind == "ivf" or precision != "fp32":
        return None
    return faiss.rev_swig_ptr(flat.get_xb(), flat.ntotal * flat.d).reshape(flat.ntotal, flat.d)


def checked_vectors(vectors: np.ndarray, what: str, dim: int | None) -> np.ndarray:
    """As contiguous float32 rows, refused where they are not finite."""
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    if vectors.ndim != 2 or not vectors.shape[1] or (dim is not None and vectors.shape[1] != dim):
        raise InputError(f"{what} have the shape {vectors.shape}, not (rows, {dim or 'width'})")
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        raise InputError(f"{what} hold a number that is not finite, first in row {int(np.argmin(finite))}")
    return vectors
