"""Whitening and standardising against numpy, and what they make of vectors that are new."""

import numpy as np
import pytest
import torch

from recsys.whitening import Standardised, Whitening


def _cone(n: int = 400, size: int = 12, seed: int = 0) -> np.ndarray:
    """Vectors of unit length that lie close together, as those of texts do."""
    random = np.random.default_rng(seed)
    drawn = random.normal(size=(n, size)) * np.geomspace(0.3, 0.01, size) @ random.normal(size=(size, size))
    drawn += 3
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def _white(vectors: np.ndarray, dim: int) -> tuple[Whitening, np.ndarray]:
    white = Whitening(vectors.shape[1], dim)
    white.fit(vectors)
    return white, white(torch.from_numpy(vectors)).numpy()


@pytest.mark.parametrize("dim", [1, 5, 12])
def test_what_it_was_fitted_on_has_mean_0_and_covariance_1(dim: int) -> None:
    _, found = _white(_cone(), dim)
    assert found.shape == (400, dim)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(np.cov(found.T.astype(np.float64)).reshape(dim, dim), np.eye(dim), atol=1e-3)


def test_directions_are_those_of_the_largest_variance_in_float64() -> None:
    vectors = _cone()
    _, found = _white(vectors, 5)
    exact = vectors.astype(np.float64) - vectors.astype(np.float64).mean(axis=0)
    _, deviations, directions = np.linalg.svd(exact, full_matrices=False)
    expected = exact @ directions[:5].T / deviations[:5] * np.sqrt(399)
    np.testing.assert_allclose(np.abs(found), np.abs(expected), rtol=1e-3, atol=1e-3)


def test_it_does_not_depend_on_the_order_of_the_vectors() -> None:
    vectors = _cone()
    white, _ = _white(vectors, 5)
    other, _ = _white(vectors[::-1].copy(), 5)
    torch.testing.assert_close(white.directions, other.directions, rtol=1e-4, atol=1e-3)
    largest = white.directions.abs().argmax(dim=0)
    assert (white.directions[largest, torch.arange(5)] > 0).all()


def test_what_never_varied_stays_0_for_a_new_vector_too() -> None:
    vectors = _cone()
    vectors[:, 3] = 0.25  # the same for all
    white, found = _white(vectors, 12)
    assert np.isfinite(found).all() and not found[:, 11].any()
    new = vectors[:1].copy()
    new[0, 3] = -0.25
    assert np.abs(white(torch.from_numpy(new)).numpy()).max() < 10


def test_fewer_vectors_than_dimensions() -> None:
    few, new = _cone(6), _cone(50, seed=1)
    white, found = _white(few, 12)
    np.testing.assert_allclose(np.cov(found.T)[:5, :5], np.eye(5), atol=1e-2)
    assert not found[:, 5:].any()
    assert np.abs(white(torch.from_numpy(new)).numpy()).max() < 100


def test_vectors_that_are_all_the_same() -> None:
    same = np.repeat(_cone(1), 5, axis=0)
    _, found = _white(same, 4)
    assert not found.any()
    plain = Standardised(12)
    plain.fit(same)
    assert plain.scale == 1 and plain(torch.from_numpy(same)).abs().max() < 1e-6


def test_standardised_vectors_are_centred_and_of_one_scale() -> None:
    vectors = _cone()
    plain = Standardised(12)
    plain.fit(vectors)
    found = plain(torch.from_numpy(vectors)).numpy()
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-4)
    assert np.square(found).mean() == pytest.approx(1, abs=1e-3)
    # one number for all entries: what says more keeps saying more
    spread = np.var(vectors, axis=0)
    np.testing.assert_allclose(np.var(found, axis=0) / spread, np.var(found[:, 0]) / spread[0], rtol=1e-2)


@pytest.mark.parametrize("kind", [Whitening, Standardised])
def test_a_vector_of_zeros_stands_for_none_and_stays_one(kind: type) -> None:
    vectors = _cone()
    made = kind(12, 5) if kind is Whitening else kind(12)
    made.fit(vectors)
    vectors[::3] = 0
    found = made(torch.from_numpy(vectors)).numpy()
    assert not found[::3].any() and found[1::3].any(axis=1).all()
    assert not made(torch.zeros(12)).any()


def test_it_is_exact_where_a_model_computes_in_bf16() -> None:
    vectors = _cone()
    white, found = _white(vectors, 12)
    with torch.autocast("cpu", torch.bfloat16):
        np.testing.assert_array_equal(white(torch.from_numpy(vectors)).numpy(), found)


def test_what_is_learned_of_texts_is_no_weight_and_travels_with_the_model() -> None:
    white, _ = _white(_cone(), 5)
    assert not list(white.parameters())
    with torch.device("meta"):
        empty = Whitening(12, 5)
    empty.load_state_dict(white.state_dict(), assign=True)
    assert torch.equal(empty.directions, white.directions) and torch.equal(empty.mean, white.mean)
