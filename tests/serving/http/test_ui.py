"""The page in a browser: somebody types, picks and compares; nothing is complained of, and nobody else is asked."""

from __future__ import annotations

from urllib.parse import urlsplit

import polars as pl
import pytest
import torch

from features.dataset import Dataset
from recsys.interests import ClustersConfig, InterestsConfig
from recsys.matching.calibration import Scaling
from recsys.matching.ditto import DittoMatcher, log_odds
from recsys.matching.ditto_config import DittoConfig
from recsys.matching.pair_reader import PairReader
from recsys.text_encoders import TextEncoderConfig
from recsys.text_encoders.loading import load_encoder
from serving.bundles.interests_writer import with_interests
from serving.bundles.writer import write_bundle
from serving.candidates import CandidateGenerator
from serving.http.app import create_app
from serving.http.config import ServiceConfig
from serving.matching.app import create_matcher_app
from serving.matching.matcher import Matcher
from serving.matching.writer import Fitted, write_matcher

SHOWN = ServiceConfig(ui=True)
#: what would do something if it were read as markup
HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=1</script>'


@pytest.fixture(scope="module")
def generator(tiny, tmp_path_factory):
    """With interests, and titles that nobody wants to have run."""
    plain = tiny.make_dataset()
    titles = pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.col("title")).otherwise(pl.col("title") + HOSTILE)
    items = plain.items.with_columns(titles)
    prepared = tiny.prepared_of(Dataset.construct("tiny", plain.interactions, items, plain.users, tiny.schema))
    root = tmp_path_factory.mktemp("hostile")
    folder = write_bundle(root / "plain", tiny.model_for(prepared), prepared, name="tiny")
    config = InterestsConfig(components=3, neighbours=4, mixing=0.4, clusters=ClustersConfig(clusters=6))
    return CandidateGenerator.load(with_interests(folder, config, out=root / "bundle"))


@pytest.fixture(scope="module")
def address(served, generator, browser):
    with served(create_app(generator, SHOWN)) as address:
        yield address


@pytest.fixture(scope="module")
def matcher(colour_model, coloured_pairs, tmp_path_factory) -> Matcher:
    """Of random weights."""
    config = DittoConfig(TextEncoderConfig(str(colour_model), pooling="mean", precision="fp32"), max_tokens=24)
    torch.manual_seed(1)
    encoder = load_encoder(config.encoder)
    model = DittoMatcher(config, encoder).eval()
    with torch.no_grad():
        model.head.weight.mul_(100)
    validation = coloured_pairs.validation
    stated = log_odds(model, PairReader(config, ["name", "maker"], encoder), validation)
    fitted = Fitted(model, ["name", "maker"], Scaling(0.5, -0.25), 0.4, stated, validation.labels)
    return Matcher.load(write_matcher(tmp_path_factory.mktemp("matcher") / "colours", fitted, name="colours"))


@pytest.fixture(autouse=True)
def _nothing_wrong(browser):
    """Whatever is done: no complaint of the browser, and no address but the service's own."""
    yield
    assert browser.console() == []
    assert browser.run("return document.title") != "1"
    asked = [urlsplit(one) for one in browser.asked()]
    assert len({one.netloc for one in asked if one.scheme == "http"}) == 1
    assert {one.scheme for one in asked} <= {"http", "data", "about"}


def names(browser) -> list[str]:
    return browser.texts("#candidates .name")


def titles(generator, ids) -> list[str]:
    named = dict(zip(generator.bundle.items.ids.to_list(), generator.bundle.item_table["title"].to_list(), strict=True))
    return [named[one] for one in ids]


def test_a_user_is_typed_and_the_candidates_appear_with_titles_and_why(browser, address, generator):
    browser.open(f"{address}/ui")
    browser.until(lambda: browser.texts("#user-examples button"))
    assert browser.texts("[role=tab]") == ["A user", "Some items"]
    browser.type("#user", "u003" + browser.keys["Enter"])
    expected = generator.recommend(["u003"], k=20)
    browser.until(lambda: names(browser) == titles(generator, expected.item_ids[0]))
    assert any(HOSTILE in one for one in names(browser))
    why = browser.texts("#candidates .why")
    assert len(why) == 20 and all(one.startswith("Brought by ") for one in why)
    interests = [one.because for one in expected.interests[0]]
    assert browser.texts("#interests-found .name") == titles(generator, interests)
    history = generator.item_ids.ids(generator.bundle.known.histories(generator.user_ids.rows(["u003"], "u")).values)
    assert browser.texts("#history .name") == titles(generator, history[::-1][:50])
    assert browser.texts("#status") == [""]
    # as many as are wanted, by the history alone
    browser.run("for (const [id, to] of [['k', '10'], ['interests', 'unimodal']]) {"
                "  document.getElementById(id).value = to;"
                "  document.getElementById(id).dispatchEvent(new Event('change')); }")  # fmt: skip
    expected = generator.recommend(["u003"], k=10, interests="unimodal")
    browser.until(lambda: names(browser) == titles(generator, expected.item_ids[0]))
    assert all(one.startswith("Of the history, ") for one in browser.texts("#candidates .why"))


def test_who_is_not_known_gets_what_is_popular_and_is_told(browser, address):
    browser.open(f"{address}/ui#user=%3Cb%3Enobody%3C%2Fb%3E")
    browser.until(lambda: len(names(browser)) == 20)
    assert "The model knows no user <b>nobody</b>" in browser.texts("#result .lead")[0]
    assert browser.texts("#candidates .why")[0].startswith("Popular: ")


def test_items_are_picked_by_search_with_keys_alone(browser, address, generator):
    browser.open(f"{address}/ui")
    browser.until(lambda: browser.texts("#user-examples button"))
    browser.type("#tab-user", browser.keys["Right"])
    assert browser.run("return document.activeElement.id") == "tab-items"
    browser.type("#search", "thing number 12")
    browser.until(lambda: browser.texts("#found [role=option]"))
    assert browser.run("return document.getElementById('search').getAttribute('aria-activedescendant')") == "found-0"
    browser.type("#search", browser.keys["Enter"])
    one = generator.recommend([None], [["sku-012"]], k=20)
    browser.until(lambda: names(browser) == titles(generator, one.item_ids[0]))
    browser.type("#search", "sku-03")
    browser.until(lambda: len(browser.texts("#found [role=option]")) == 10)
    second = browser.texts("#found [role=option] .id")[1]
    browser.type("#search", browser.keys["Down"] + browser.keys["Enter"])
    both = generator.recommend([None], [["sku-012", second]], k=20)
    browser.until(lambda: names(browser) == titles(generator, both.item_ids[0]))
    assert browser.run("return location.hash") == f"#item=sku-012&item={second}"
    # the address brings it back, titles and all; the first is left out again
    browser.open(f"{address}/ui#item=sku-012&item={second}")
    browser.until(
        lambda: browser.texts("#picked button") == [f"{one} ✕" for one in titles(generator, ["sku-012", second])]
    )
    browser.click("#picked button")
    other = generator.recommend([None], [[second]], k=20)
    browser.until(lambda: names(browser) == titles(generator, other.item_ids[0]))
    browser.type("#search", "nothing is called so")
    browser.until(lambda: browser.texts("#found") == ["Nothing is called “nothing is called so”."])
    browser.type("#search", browser.keys["Escape"])
    assert browser.texts("#found") == []


def test_a_pair_is_explained(browser, served, matcher):
    left, right = {"name": "red tea cup red", "maker": "ada"}, {"name": f"blue tea {HOSTILE}", "maker": "bo"}
    with served(create_matcher_app(matcher, SHOWN)) as address:
        browser.open(f"{address}/ui")
        browser.until(lambda: browser.texts("#panel-pair textarea"))
        assert browser.texts("[role=tab]") == ["Two records"]
        assert browser.texts("#left label") == browser.texts("#right label") == ["name", "maker"]
        browser.type("#left-0", left["name"] + browser.keys["Enter"])
        browser.until(lambda: browser.texts("#status") == ["Say something of both records."])
        for field, said in (("#left-1", left["maker"]), ("#right-0", right["name"]), ("#right-1", right["maker"])):
            browser.type(field, said)
        browser.type("#right-1", browser.keys["Enter"])
        (verdict,) = browser.until(lambda: browser.texts("#verdict .verdict"))
        scores, found = matcher.score(matcher.pairs([left], [right])), matcher.explain(left, right)
        assert verdict.endswith("the same thing" if scores.same[0] else "two different things")
        assert abs(float(verdict.split("%")[0].split()[-1]) - 100 * scores.probabilities[0]) <= 1
        assert set(browser.texts("#attributes tbody th")) == set(found.attributes)
        assert browser.texts("#words-left .said") == ["name: red tea cup red", "maker: ada"]
        assert browser.texts("#words-right .said")[0].split()[:3] == ["name:", "blue", "tea"]
        # each word has its own colour, the second "red" another one than the first
        shares = [share for side, attribute, _, share in found.words if (side, attribute) == ("left", "name")]
        told = browser.run(
            "return [...document.querySelectorAll('#words-left .said:first-of-type .word')].map(one => one.title)"
        )
        said = [
            "decided nothing"
            if abs(one) < 0.005
            else f"{'−' if one < 0 else '+'}{abs(one):.2f}, {'for' if one > 0 else 'against'} the same thing"
            for one in shares
        ]
        assert told == said and len(set(shares)) == 4


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [320, 1200])
def test_nothing_is_cut_off_and_everything_has_a_name(browser, address, width, dark):
    browser.shows(width, dark)
    try:
        browser.open(f"{address}/ui#user=u003")
        browser.until(lambda: names(browser))
        assert browser.run("return document.scrollingElement.scrollWidth") <= width
        over = "return [...document.querySelectorAll('main *')].filter(e => e.checkVisibility() &&"
        assert browser.run(f"{over} e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML)") == []
        unnamed = "return [...document.querySelectorAll('input, select')].filter(e => !e.labels.length).map(e => e.id)"
        assert browser.run(unnamed) == []
        lightness = "return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
        assert (max(browser.run(lightness)) < 80) == dark
    finally:
        browser.shows(1200)
