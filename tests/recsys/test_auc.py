import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import InputError
from recsys.auc import log_loss, roc_auc


@given(st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=1, max_size=40))
def test_auc_is_the_share_of_ordered_pairs_with_ties_as_halves(examples: list[tuple[bool, int]]) -> None:
    labels = np.array([label for label, _ in examples], dtype=float)
    scores = np.array([score for _, score in examples], dtype=float)
    pairs = [(p > n) + 0.5 * (p == n) for p in scores[labels == 1] for n in scores[labels == 0]]
    if pairs:
        assert roc_auc(labels, scores) == pytest.approx(np.mean(pairs))
    else:
        assert np.isnan(roc_auc(labels, scores))


def test_auc_of_the_whole_is_not_the_mean_of_batches() -> None:
    labels, scores = np.array([0, 1, 0, 1]), np.array([0.1, 0.2, 0.8, 0.9])
    assert roc_auc(labels[:2], scores[:2]) == roc_auc(labels[2:], scores[2:]) == 1
    assert roc_auc(labels, scores) == 0.75


def test_log_loss_is_minus_the_mean_log_likelihood_and_does_not_overflow() -> None:
    labels, logits = np.array([1, 0, 1]), np.array([0.3, -1.2, -0.5])
    likelihood = 1 / (1 + np.exp(-logits))
    expected = -np.mean(np.log(np.where(labels == 1, likelihood, 1 - likelihood)))
    assert log_loss(labels, logits) == pytest.approx(expected)
    assert log_loss(np.array([1, 0]), np.array([-2000.0, 0.0])) == pytest.approx((2000 + np.log(2)) / 2)


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([0, 2], [0.1, 0.2], "labels are 0 or 1, got 2 in row 1"),
        ([0, 1], [0.1, float("nan")], "the score of row 1 is not a number"),
        ([0, 1], [0.1], "one length"),
    ],
)
def test_what_is_no_classification_is_refused(labels: list, scores: list, message: str) -> None:
    for figure in (roc_auc, log_loss):
        with pytest.raises(InputError, match=message):
            figure(np.array(labels), np.array(scores))
