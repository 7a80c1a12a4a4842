"""The pictures of a run say what its figures say."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from features.prepared import Prepared
from recsys.two_tower import TwoTower
from serving.bundles.writer import write_bundle
from training.bundle_evaluation import BundleAnswers
from training.config import TrainConfig
from training.evaluation import evaluate_baselines
from training.run_pictures import _edges, item_map, popularity_picture, recall_picture


@pytest.fixture(scope="module")
def answers(
    small_config: TrainConfig, small_prepared: Prepared, tmp_path_factory: pytest.TempPathFactory
) -> BundleAnswers:
    torch.manual_seed(0)
    model = TwoTower(small_config.model, small_prepared.dataset.schema, small_prepared.vocabularies).eval()
    folder: Path = tmp_path_factory.mktemp("pictures") / "bundle"
    return BundleAnswers.of(write_bundle(folder, model, small_prepared), small_prepared)


def test_recall_is_drawn_as_it_was_measured(answers, small_prepared):
    figures = answers.figures()
    baselines = evaluate_baselines(small_prepared)
    (axes,) = recall_picture(answers, {"two-tower": figures, **baselines}).axes
    drawn = {line.get_label(): dict(line.get_xydata().tolist()) for line in axes.lines}
    for k in (10, 20, 50):
        assert drawn["two-tower"][k] == pytest.approx(figures[f"recall@{k}"])
        assert drawn["item-knn"][k] == pytest.approx(baselines["item-knn"][f"recall@{k}"])
    (band,) = axes.collections
    corners = band.get_paths()[0].vertices
    for k, recall in drawn["two-tower"].items():
        heights = corners[corners[:, 0] == k][:, 1]
        assert heights.min() <= recall <= heights.max()


def test_slices_by_popularity_add_up_to_the_whole(answers):
    (axes,) = popularity_picture(answers).axes
    queries = [int(text.get_text().split("\n")[1].split()[0].replace(",", "")) for text in axes.get_xticklabels()]
    figures = answers.figures()
    assert sum(queries) == figures["queries"]
    hits = sum(bar.get_height() * n for bar, n in zip(axes.patches, queries, strict=True))
    assert hits / sum(queries) == pytest.approx(figures["hr@10"])


def test_the_map_has_every_item(answers):
    points = item_map(answers).axes[0].collections[0]
    assert len(points.get_offsets()) == len(answers.generator.bundle.items)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=60))
def test_ranges_of_popularity_hold_each_count_once(counts):
    ranges = [(low, high) for _, low, high in _edges(np.array(counts))]
    for one in counts:
        assert sum(low <= one <= high for low, high in ranges) == 1
    assert all(any(low <= one <= high for one in counts) for low, high in ranges)
    assert ranges == sorted(ranges)
