"""Real versions on trial: what is worse, broken or too well informed is refused, and what is better is promoted."""

import dataclasses
import json
from types import SimpleNamespace

import mlflow
import numpy as np
import pytest

from features.dataset import Dataset
from features.errors import InputError
from features.prepared import Prepared
from features.schema import FeatureSchema, Sequence
from features.splits import by_time, random_ratio
from recsys.index import IndexConfig
from serving.bundles.manifest import GOLDEN, Manifest
from serving.bundles.writer import write_bundle
from serving.candidates import CandidateGenerator
from serving.resolve import resolve
from training.bundle_evaluation import served_lists
from training.cli import main
from training.config import load_config
from training.data import load
from training.promotion import Tolerances, rollback
from training.promotion.aliases import Candidates
from training.promotion.comparison import try_out
from training.promotion.figures import of_bundle
from training.promotion.gated import Refused, promote, promote_ungated
from training.promotion.window import Window
from training.release import load_model
from training.runs import RunOptions, run
from training.tracking import TrackedRun

#: machines that run tests are busy with other things: what takes how long is not asked here
LENIENT = Tolerances(latency=1000)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """The model "shop" with versions of different worth, all trained on what was before the window."""
    folder = tmp_path_factory.mktemp("shop")
    settings = ["data.settings.interactions=6000", "model.dim=16", "model.embeddings.width=16", "optimiser.lr=0.01"]
    settings += ["optimiser.max_epochs=8", "examples.batch_size=64", "split.name=time"]
    config = load_config(settings=settings)
    weak = dataclasses.replace(config, optimiser=dataclasses.replace(config.optimiser, max_epochs=1))
    dataset = load(config.data)
    prepared = Prepared.of(dataset, by_time(dataset))
    versions = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        uri = f"sqlite:///{folder}/mlflow.db"
        options = RunOptions(folder=folder, register="shop", tracking_uri=uri, progress=False)

        def train(name: str, config, data: Dataset) -> None:
            there = Prepared.of(data, by_time(data))
            versions[name] = run(config, dataclasses.replace(options, folder=folder / name), there).version

        train("good", config, dataset)
        train("weak", weak, dataset)
        labels = dataset.interactions["item_id"].gather(np.random.default_rng(0).permutation(6000))
        train("shuffled", weak, dataclasses.replace(dataset, interactions=dataset.interactions.with_columns(labels)))
        informed = Prepared.of(dataset, by_time(dataset, test=0.02))
        model = load_model(folder / "good" / "bundle")
        history = FeatureSchema((Sequence("history"),), dataset.schema.item)
        plain = dataclasses.replace(dataset, schema=history)
        made = {
            "informed": lambda at: write_bundle(at, model, informed),
            "random": lambda at: write_bundle(at, model, Prepared.of(dataset, random_ratio(dataset))),
            "cut": lambda at: write_bundle(at, model, prepared, IndexConfig("ivf", lists=12, probes=1)),
            "undated": lambda at: write_bundle(
                at, model, dataclasses.replace(prepared, dataset=dataclasses.replace(dataset, dated=False))
            ),
        }
        with TrackedRun("made", "made", uri=uri) as tracked:
            for name, write in made.items():
                versions[name] = tracked.bundle(write(folder / name), "shop")
        train("plain", weak, plain)
        client = mlflow.MlflowClient(uri)

        def crown(name: str | None) -> None:
            """Makes a version champion, or none, with no questions."""
            for alias in list(client.get_registered_model("shop").aliases):
                client.delete_registered_model_alias("shop", alias)
            if name is not None:
                client.set_registered_model_alias("shop", "champion", versions[name])

        yield SimpleNamespace(
            uri=uri,
            folder=folder,
            versions=versions,
            dataset=dataset,
            crown=crown,
            since=prepared.split.settings["test_from"],
            aliases=lambda: {one: str(at) for one, at in client.get_registered_model("shop").aliases.items()},
            tags=lambda name: dict(client.get_model_version("shop", versions[name]).tags),
            promote=lambda name, tolerances=LENIENT, **more: promote(
                "shop", versions[name], dataset=dataset, tolerances=tolerances, uri=uri, **more
            ),
        )


def refused(shop, champion: str | None, name: str, *gates: str, **more) -> Refused:
    shop.crown(champion)
    before = shop.aliases()
    with pytest.raises(Refused) as told:
        shop.promote(name, **more)
    assert [one.name for one in told.value.gates if one.passed is False] == list(gates)
    assert all(f"{gate}: " in str(told.value) for gate in gates) and "\n" not in str(told.value)
    assert shop.aliases() == before and "promoted_by" not in shop.tags(name)
    return told.value


def test_a_model_of_shuffled_labels_is_refused(shop):
    told = refused(shop, "good", "shuffled", "user_ndcg@10", "recall@100", "coverage")
    assert "it is worse by 0." in str(told) and str(told).endswith(f"version {shop.versions['good']} stays champion")


def test_and_as_the_first_it_does_not_beat_popularity(shop):
    told = refused(shop, None, "shuffled", "popularity")
    assert "not shown to be better" in str(told) and str(told).endswith("there is still no champion")


def test_an_index_that_was_cut_is_refused_whatever_its_manifest_says(shop):
    folder = shop.folder / "cut"
    index = {**Manifest.read(folder).index, "recall": 1.0}
    dataclasses.replace(Manifest.read(folder), index=index).write(folder)
    told = refused(shop, "weak", "cut", "index", tolerances=dataclasses.replace(LENIENT, depth=10))
    (gate,) = [one for one in told.gates if one.passed is False]
    assert gate.figures["recall"] < 0.9 and "and 0.95 is the least" in gate.told


def test_a_window_that_overlaps_what_either_knows_is_refused(shop):
    told = refused(shop, "good", "informed", "cut-off", since=shop.since)
    known = Manifest.read(shop.folder / "informed").data["known_until"]
    times = shop.dataset.interactions["timestamp"]
    overlap = ((times >= shop.since) & (times <= known)).sum()
    assert f"version {shop.versions['informed']} knows interactions until {known}" in str(told)
    assert f"{overlap:,} of the window's interactions are not later" in str(told)
    assert not any("ndcg" in one.name for one in told.gates)  # which would mean nothing
    told = refused(shop, "informed", "good", "cut-off", since=shop.since)
    assert f"version {shop.versions['informed']} (the champion) knows interactions until" in str(told)
    # of itself, the window begins after both
    shop.crown("informed")
    trial = try_out("shop", Candidates(shop.versions["good"], shop.versions["informed"]), shop.dataset, uri=shop.uri)
    assert trial.window.since == known + 1


def test_a_model_that_cannot_say_until_when_it_knows_is_refused(shop):
    assert "does not say until when it knows" in str(refused(shop, "good", "undated", "cut-off"))


def test_requests_that_the_champion_takes_and_it_does_not_are_named(shop):
    told = refused(shop, "weak", "plain", "signature", tolerances=dataclasses.replace(LENIENT, quality=10, coverage=1))
    assert "it takes no attribute 'age_group' of users any more" in str(told)


def test_a_better_model_is_promoted_and_its_tags_say_why(shop):
    shop.crown("weak")
    strict = dataclasses.replace(LENIENT, require_better=True)
    done = shop.promote("good", strict, why="trained for longer", by="ada")
    good, weak = shop.versions["good"], shop.versions["weak"]
    assert shop.aliases() == {"champion": good, "previous": weak}
    assert all(one.passed is not False for one in done.gates) and done.previous == weak
    tags = shop.tags("good")
    assert (tags["promoted_by"], tags["promoted_why"]) == ("ada", "trained for longer")
    told = json.loads(tags["promoted_gates"])
    assert {
        "cut-off",
        "golden",
        "index",
        "signature",
        "size",
        "user_ndcg@10",
        "recall@100",
        "better",
        "coverage",
    } <= set(told["passed"])
    assert told["user_ndcg@10"]["low"] > 0 and told["champion"] == weak
    # of two figures one is found better by chance twice as often as of one, so that the bounds are lower
    assert 0 < told["better"]["user_ndcg@10_low"] < told["user_ndcg@10"]["low"]
    assert told["better"]["recall@100_low"] < told["recall@100"]["low"]
    assert told["since"] == Manifest.read(shop.folder / "good" / "bundle").data["known_until"] + 1 <= shop.since
    assert CandidateGenerator.load("models:/shop@champion", tracking_uri=shop.uri).identity["version"] == good
    assert rollback("shop", shop.uri).champion == weak
    shop.crown(None)
    _forget(shop, "good")


def test_a_random_split_leaves_no_window_and_what_helps_is_named(shop, capsys):
    """What is true of the version, or of the champion, and no way that would not help."""
    shop.crown(None)
    latest = shop.dataset.interactions["timestamp"].max()
    assert main(command(shop, shop.versions["random"])) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    number = shop.versions["random"]
    assert f"nothing of generated is in the window from {latest + 1}" in line
    assert line.endswith(
        f"; version {number} was split at random, so it knows the latest of them: train with --split time, bring newer "
        "data, or promote with --no-gates --why TEXT"
    )
    # where the champion is what knows everything, training another version in another way changes nothing
    shop.crown("random")
    with pytest.raises(InputError, match=rf"version {number} \(the champion\) was split at random") as told:
        shop.promote("good")
    assert "--split time" not in str(told.value) and "bring newer data, or promote with --no-gates" in str(told.value)
    # and a window that somebody names inside of what it knows is refused with the same
    assert "train with --split time, bring newer data" in str(
        refused(shop, None, "random", "cut-off", since=shop.since)
    )


def test_the_same_model_again_is_no_worse_and_no_better(shop):
    strict = dataclasses.replace(LENIENT, require_better=True)
    between = Candidates(shop.versions["good"], shop.versions["good"])
    trial = try_out("shop", between, shop.dataset, None, strict, shop.uri)
    assert [one.name for one in trial.failed] == ["better"]


def test_figures_are_those_of_the_lists_that_are_served(shop):
    """NDCG and recall one user at a time, from what `recommend` answers."""
    window = Window.of(shop.dataset, shop.since, new_only=True)
    generator = CandidateGenerator.load(shop.folder / "good" / "bundle")
    found = of_bundle(generator, window, 20, tells_when=True)
    prepared, evaluation = window.evaluation.prepared, window.evaluation
    gains, shares, listed = [], [], set()
    for row in evaluation.users:
        user = prepared.users.ids_of(np.array([row])).to_list()
        histories = [prepared.items.ids_of(evaluation.histories.row(row)).to_list()]
        answer = generator.recommend(user, histories, k=20).item_ids[0]
        targets = prepared.items.ids_of(evaluation.targets.row(row)).to_list()
        places = [answer.index(one) + 1 if one in answer else None for one in targets]
        gain = sum(1 / np.log2(one + 1) for one in places if one is not None and one <= 10)
        gains.append(gain / sum(1 / np.log2(one + 1) for one in range(1, min(len(targets), 10) + 1)))
        shares.append(np.mean([one is not None for one in places]))
        listed |= set(answer[:10])
    assert found.mean("user_ndcg@10") == pytest.approx(np.mean(gains)) and found.counted("user_ndcg@10") == window.users
    assert found.mean("recall@20") == pytest.approx(np.mean(shares))
    assert found.coverage == pytest.approx(len(listed) / len(prepared.items))
    lists = served_lists(generator, evaluation, evaluation.users[:1], k=5)
    assert lists.shape == (1, 5)


def test_a_promotion_without_gates_needs_a_reason_and_says_so(shop):
    shop.crown(None)
    for why in ("", "  "):
        with pytest.raises(InputError, match="needs a reason"):
            promote_ungated("shop", shop.versions["weak"], why=why, uri=shop.uri)
    promote_ungated("shop", shop.versions["weak"], why="there was no data", uri=shop.uri)
    tags = shop.tags("weak")
    assert (tags["promoted_gates"], tags["promoted_why"]) == ("none", "there was no data")
    _forget(shop, "weak")


@pytest.mark.parametrize("damage", ["another bit", "a lost file"])
def test_a_promotion_without_gates_takes_no_damaged_version(shop, damage):
    shop.crown("weak")
    folder = resolve(f"models:/shop/{shop.versions['good']}", shop.uri).folder
    file = folder / ("weights.safetensors" if damage == "another bit" else "model.json")
    before = file.read_bytes()
    try:
        file.write_bytes(before[:-1] + bytes([before[-1] ^ 1])) if damage == "another bit" else file.unlink()
        with pytest.raises(InputError, match=rf"^version {shop.versions['good']} of the model 'shop' at .*{file.name}"):
            promote_ungated("shop", shop.versions["good"], why="in a hurry", uri=shop.uri)
    finally:
        file.write_bytes(before)
    assert shop.aliases() == {"champion": shop.versions["weak"]} and "promoted_by" not in shop.tags("good")


def test_golden_requests_that_are_answered_otherwise_refuse(shop, monkeypatch):
    monkeypatch.setattr("training.promotion.comparison.replay", lambda generator: ["user 3: place 1 is x"])
    assert "1 list is not what the bundle gave: user 3: place 1 is x" in str(refused(shop, "weak", "good", "golden"))
    assert Manifest.read(shop.folder / "good" / "bundle").files[GOLDEN]["bytes"] > 100


def command(shop, *more: str) -> list[str]:
    data = ["--data", "generated", "--set", "data.settings.interactions=6000", "--tracking-uri", shop.uri]
    return ["promote", "shop", *more, *data, "--gate", "latency=1000"]


def test_the_command_line_prints_a_table_and_refuses_in_one_line(shop, capsys):
    shop.crown("good")
    assert main(command(shop, shop.versions["shuffled"])) == 2
    told = capsys.readouterr()
    assert "user_ndcg@10  FAILED  0." in told.out and "golden        passed" in told.out
    (line,) = [one for one in told.err.splitlines() if "error" in one]
    assert line == told.err.splitlines()[-1] and "does not pass the 3 gates user_ndcg@10, recall@100, " in line
    assert line.count("0.") == 0 and line.endswith("stays champion")  # the table has said by how much
    assert main(command(shop, shop.versions["shuffled"], "--json")) == 2
    figures = json.loads(capsys.readouterr().out)
    assert (
        figures["promoted"] is False
        and {one["gate"]: one["passed"] for one in figures["gates"]}["user_ndcg@10"] is False
    )
    shop.crown("weak")
    assert main(command(shop, shop.versions["good"], "--why", "better", "--by", "ada", "--json")) == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["version"], done["previous"], done["by"]) == (shop.versions["good"], shop.versions["weak"], "ada")
    assert main(["rollback", "shop", "--why", "no", "--by", "bob", "--tracking-uri", shop.uri]) == 0
    assert shop.tags("weak")["promoted_by"] == "bob" and shop.tags("good")["rolled_back_why"] == "no"
    _forget(shop, "good", "weak")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--gate", "beauty=1"], "--gate takes KEY=VALUE with one of quality, depth,"),
        (["--gate", "depth=1.5"], "--gate depth is a number such as 100, got '1.5'"),
        (["--gate", "quality=-1"], "the tolerance quality is a number of at least 0"),
        (["--since", "soon"], "'soon' is neither a number nor a date"),
        (["--since", "2031-01-01"], "nothing of generated is in the window"),
        (["--no-gates"], "--gate, --require-better and --since say nothing"),
        (["99"], "has no version 99"),
    ],
)
def test_wrong_arguments_are_named(shop, capsys, more, words):
    shop.crown("weak")
    version = [] if more == ["99"] else [shop.versions["good"]]
    assert main(command(shop, *version, *more)) == 2
    assert words in capsys.readouterr().err.splitlines()[-1]


def test_data_has_to_be_named(shop, capsys):
    shop.crown("weak")
    assert main(["promote", "shop", shop.versions["good"], "--tracking-uri", shop.uri]) == 2
    assert "or --no-gates --why TEXT" in capsys.readouterr().err.splitlines()[-1]


def _forget(shop, *names: str) -> None:
    client = mlflow.MlflowClient(shop.uri)
    for name in names:
        for tag in shop.tags(name):
            if tag.startswith(("promoted", "rolled")):
                client.delete_model_version_tag("shop", shop.versions[name], tag)
