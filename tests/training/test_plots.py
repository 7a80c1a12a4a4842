"""Pictures: what they draw is what they are given, and what cannot be drawn is told."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import InputError
from training import plots
from training.plots.pareto import front

POINTS = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), min_size=1, max_size=12)


@given(POINTS)
def test_the_front_is_what_no_point_beats(points):
    found = {points[place] for place in front(points)}
    beaten = {one for one in points for other in points if other[0] <= one[0] and other[1] >= one[1] and other != one}
    assert found == set(points) - beaten
    assert [points[place] for place in front(points)] == sorted(found)


def test_learning_curves_show_every_epoch_and_mark_the_best():
    epochs = [{"epoch": n, "train/loss": 3.0 - n, "validation/ndcg@10": n / 10} for n in range(3)]
    figure = plots.learning_curves(epochs, best_epoch=2)
    left, right = figure.axes
    assert left.lines[0].get_xydata().tolist() == [[0, 3], [1, 2], [2, 1]]
    assert right.lines[0].get_xydata().tolist() == [[0, 0], [1, 0.1], [2, 0.2]]
    assert left.lines[1].get_xdata()[0] == 2
    assert [text.get_text() for text in figure.legends[0].texts][2] == "best epoch (2)"


def test_recall_curves_have_bands_where_given():
    figure = plots.recall_curves(
        {"ours": {1: 0.1, 10: 0.5}, "popularity": {10: 0.2}}, {"ours": {10: (0.4, 0.6), 1: (0, 0.2)}}
    )
    (axes,) = figure.axes
    assert axes.lines[0].get_xydata().tolist() == [[1, 0.1], [10, 0.5]]
    (band,) = axes.collections
    assert {tuple(one) for one in band.get_paths()[0].vertices.tolist()} == {(1, 0), (1, 0.2), (10, 0.4), (10, 0.6)}


def test_popularity_slices_are_bars_with_intervals():
    figure = plots.popularity_slices({"never": (0.0, 0.0, 0.1, 7), "1 to 3": (0.2, 0.1, 0.4, 1200)})
    (axes,) = figure.axes
    assert [bar.get_height() for bar in axes.patches] == [0.0, 0.2]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["never\n7 queries", "1 to 3\n1,200 queries"]


def test_pareto_names_what_is_not_beaten():
    figure = plots.pareto({"one": {"small": (1, 0.2), "large": (9, 0.4)}, "two": {"poor": (9, 0.1)}}, cost="MB")
    assert [text.get_text() for text in figure.axes[0].texts] == ["small", "large"]


def test_a_front_of_nothing_or_of_no_cost_is_refused():
    with pytest.raises(InputError, match="no models"):
        plots.pareto({"one": {}})
    with pytest.raises(InputError, match=r"cost of 'free' is a number above 0, got 0"):
        plots.pareto({"one": {"free": (0, 0.2)}})


@pytest.mark.parametrize("by", ["pca", "tsne"])
def test_neighbours_stay_neighbours_on_a_map(by):
    random = np.random.default_rng(0)
    centres = 10 * np.eye(3, 8)
    group = np.repeat(np.arange(3), 20)
    places = plots.placed(centres[group] + random.normal(size=(60, 8)) / 10, by)
    apart = np.linalg.norm(places[:, None] - places[None], axis=-1) + np.diag(np.full(60, np.inf))
    assert (group[apart.argmin(1)] == group).all()


def test_a_map_of_one_direction_has_two_columns():
    assert plots.placed(np.arange(5.0)[:, None]).shape == (5, 2)


def test_what_is_no_map_is_refused():
    with pytest.raises(InputError, match=r"three vectors or more, and the shape of these is \(2, 4\)"):
        plots.placed(np.zeros((2, 4)))
    with pytest.raises(InputError, match="vector 1 of a map is not finite"):
        plots.placed(np.array([[0.0, 1], [np.nan, 0], [1, 1]]))
    with pytest.raises(InputError, match="not 'pca' or 'tsne'"):
        plots.placed(np.eye(3), "umap")
    with pytest.raises(InputError, match="3 points have 2 groups"):
        plots.embedding_map(np.zeros((3, 2)), ["a", "b"])


def test_a_map_colours_the_largest_groups_and_names_points():
    groups = [name for n, name in enumerate("abcdefgh") for _ in range(9 - n)] + [None] * 50
    places = np.random.default_rng(0).normal(size=(len(groups), 2))
    figure = plots.embedding_map(places, groups, names={3: "a thing"}, highlighted=[0, 1])
    told = [text.get_text() for text in figure.legends[0].texts]
    assert told == ["others", *"abcdef", "highlighted"]
    assert figure.axes[0].texts[0].get_text() == "a thing"


def test_a_picture_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch):
    figure = plots.reliability({"test": [(0.1, 0.0, 3), (0.9, 1.0, 5)]})
    path = plots.saved(figure, tmp_path / "one.png")
    before = path.read_bytes()
    assert before.startswith(b"\x89PNG")

    def broken(file, **_):
        Path(file).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(figure, "savefig", broken)
    with pytest.raises(OSError, match="disk full"):
        plots.saved(figure, path)
    assert [one.name for one in tmp_path.iterdir()] == ["one.png"]
    assert path.read_bytes() == before
