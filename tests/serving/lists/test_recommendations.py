"""Answers cut apart are the answers of those who would have asked alone."""

from __future__ import annotations

import pytest

from recsys.interests import ClustersConfig, InterestsConfig
from serving.bundles.interests_writer import with_interests
from serving.candidates import CandidateGenerator
from serving.lists.recommendations import Recommendations, SimilarItems

USERS = ["u003", None, "stranger", "u021", "u039", "u007"]
HISTORIES = [None, ["sku-004", "nothing"], [], ["sku-010"], None, None]
CUTS = [(0, 1), (1, 4), (4, 6), (2, 2), (0, 6)]


def the_same(part, alone):
    """But for the last bits of scores, which a user's vector has from the batch it was made in."""
    assert part.item_ids == alone.item_ids
    for mine, others in zip(part.scores, alone.scores, strict=True):
        assert mine == pytest.approx(others, abs=1e-5)
    assert [list(one) for one in part.rows] == [list(one) for one in alone.rows]
    assert [part.titles_of(n) for n in range(len(part))] == [alone.titles_of(n) for n in range(len(alone))]
    kept = {"sources": part.sources}
    if isinstance(part, Recommendations):
        kept |= {"users": part.user_ids, "unknown": part.unknown_history_items, "of": part.interest_of}
        assert kept == {
            "sources": alone.sources,
            "users": alone.user_ids,
            "unknown": alone.unknown_history_items,
            "of": alone.interest_of,
        }
        assert [[one.because for one in mine] for mine in part.interests] == [
            [one.because for one in mine] for mine in alone.interests
        ]


@pytest.mark.parametrize("interests", [None, "smoothed"])
def test_a_part_is_what_its_users_get_alone(string_folders, tmp_path, interests):
    config = InterestsConfig(components=3, neighbours=4, mixing=0.4, clusters=ClustersConfig(clusters=6))
    generator = CandidateGenerator.load(with_interests(string_folders["two-tower"], config, out=tmp_path / "b"))
    together = generator.recommend(USERS, HISTORIES, k=7, interests=interests)
    for start, stop in CUTS:
        part = together.take(start, stop)
        assert isinstance(part, Recommendations) and len(part) == stop - start
        the_same(part, generator.recommend(USERS[start:stop], HISTORIES[start:stop], k=7, interests=interests))
        assert part.to_json() == together.to_json()[start:stop]
    assert together.take(0, len(USERS)) == together != together.take(0, 2)


def test_a_part_of_similar_items_is_what_they_get_alone(any_generator):
    items = ["sku-004", "nothing", "sku-011"]
    together = any_generator.similar(items, k=5)
    for start, stop in ((0, 1), (1, 3), (0, 3)):
        part = together.take(start, stop)
        assert isinstance(part, SimilarItems) and part == any_generator.similar(items[start:stop], k=5)
        assert part.to_frame().equals(any_generator.similar(items[start:stop], k=5).to_frame())
    assert together.take(0, 1) != together.take(2, 3)
