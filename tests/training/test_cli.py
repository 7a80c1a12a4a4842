"""The command line: help, figures for programs, and one clear line with status 2 for what cannot be used."""

import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import polars as pl
import pytest

from training.cli import COMMANDS, main

QUICK = ["--set", "optimiser.max_epochs=1", "--set", "model.dim=16", "--set", "optimiser.backend=torch"]
SMALL = ["--set", "data.settings.interactions=2000", *QUICK]


def _error(capsys: pytest.CaptureFixture, *argv: str) -> str:
    assert main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = [line for line in captured.err.splitlines() if "error" in line]
    assert len(lines) == 1 and lines[0] == captured.err.splitlines()[-1]
    return lines[0]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A small shop of the user's own, as CSV."""
    folder = tmp_path / "my-shop"
    folder.mkdir()
    rows = [(f"u{user}", f"00{(user * 7 + step * 3) % 40}", 1000 + step) for user in range(30) for step in range(8)]
    pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row").write_csv(folder / "interactions.csv")
    items = pl.DataFrame({"item_id": [f"00{n}" for n in range(40)], "title": [f"Thing {n}" for n in range(40)]})
    items.write_csv(folder / "items.csv")
    return folder


@pytest.mark.parametrize(
    ("option", "value", "problem"),
    [
        ("--threads", "-1", "is 0 or more, got -1"),
        ("--queue", "0", "is above 0, got 0"),
        ("--longest-wait", "0", "is above 0, got 0.0"),
        ("--drain", "nan", "is 0 or more, got nan"),
        ("--poll", "-1", "is 0 or more, got -1.0"),
        ("--keep-events", "0", "is above 0, got 0"),
        ("--least-recall", "1.5", "is from 0 to 1, got 1.5"),
        ("--shadow-share", "2", "is from 0 to 1, got 2.0"),
        ("--workers", "0", "is 1 or more, got 0"),
        ("--cors", "shop.example", "is an origin as browsers write it, scheme://host"),
    ],
)
def test_what_serve_cannot_be_told_is_called_as_it_was_typed(capsys, option: str, value: str, problem: str) -> None:
    told = _error(capsys, "serve", "--model", "nowhere", option, value)
    assert told.startswith(f"recsys serve: error: {option} {problem}")


def test_a_token_that_cannot_be_is_named_and_not_shown(capsys, monkeypatch) -> None:
    monkeypatch.setenv("RECSYS_TOKEN", "too-short")
    told = _error(capsys, "serve", "--model", "nowhere")
    assert told.startswith("recsys serve: error: RECSYS_TOKEN is at least 16 characters") and "too-short" not in told


def test_every_option_of_serve_reaches_the_service(monkeypatch) -> None:
    from serving.http.config import ServiceConfig

    seen = []
    monkeypatch.setattr("serving.server.serve", lambda *told: seen.append(told) or 0)
    monkeypatch.delenv("RECSYS_TOKEN", raising=False)
    assert main(["serve", "--model", "m"]) == 0
    assert seen[0][1:] == ("127.0.0.1", 8000, ServiceConfig(events=""), 1)
    options = "--threads 2 --queue 3 --longest-wait 4 --drain 5 --poll 6 --least-recall 0.7 --keep-events 8 --events e "
    options += (
        "--cors https://a --cors * --ui --log-requests --impressions i --shadow s --shadow-share 0.9 --new-items n"
    )
    assert main(["serve", "--model", "m", *options.split()]) == 0
    assert seen[1][3] == ServiceConfig(
        threads=2, most_waiting=3, most_seconds=4, drain_seconds=5, poll_seconds=6, least_recall=0.7, keep_events=8,
        events="e", cors=("https://a", "*"), ui=True, log_requests=True, impressions=Path("i"), shadow="s",
        shadow_share=0.9, new_items=Path("n"),
    )  # fmt: skip


@pytest.mark.parametrize("verb", ["", *COMMANDS])
def test_help_tells_what_a_verb_does(capsys: pytest.CaptureFixture, verb: str) -> None:
    with pytest.raises(SystemExit) as end:
        main([*verb.split(), "--help"])
    assert end.value.code == 0
    assert "usage: recsys" in capsys.readouterr().out


def test_the_version_is_printed(capsys: pytest.CaptureFixture) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip()[0].isdigit()


def test_data_describes_and_writes_tables_that_can_be_read_again(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    settings = ["--set", "data.settings.interactions=1000"]
    assert main(["data", *settings, "--out", str(tmp_path / "out"), "--json"]) == 0
    written = json.loads(capsys.readouterr().out)
    assert written["interactions"] == 1000 and written["train"] == 800
    assert main(["data", "--data", "tables", "--root", str(tmp_path / "out"), "--json"]) == 0
    read = json.loads(capsys.readouterr().out)
    assert {key: read[key] for key in ("interactions", "users", "items", "item_features")} == {
        key: written[key] for key in ("interactions", "users", "items", "item_features")
    }


def test_own_tables_go_the_whole_way(capsys: pytest.CaptureFixture, store: str, shop: Path) -> None:
    train = ["train", "two-tower", "--data", "tables", "--root", str(shop), "--register", "shop", "--json", *QUICK]
    assert main(train) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {"dataset", "split_hash", "seed", "hr@10", "ndcg@10", "seconds", "baselines"} <= figures.keys()
    assert "--no-gates --why" in _error(capsys, "promote", "shop")
    assert main(["promote", "shop", "--no-gates", "--why", "nothing is later than all of the data"]) == 0
    capsys.readouterr()
    asked = [
        "recommend",
        "--model",
        "models:/shop@champion",
        "--user",
        "u3",
        "--history",
        "007,005",
        "-k",
        "4",
        "--json",
    ]
    assert main(asked) == 0
    told = capsys.readouterr()
    known, stranger = json.loads(told.out)
    assert told.err.splitlines() == ["shop: version 1 answers"]
    assert known["source"] == "user" and stranger["source"] == "history"
    assert len(known["item_ids"]) == 4 and all(one.startswith("00") for one in known["item_ids"])
    assert main(asked[:-1]) == 0
    assert "Thing" in capsys.readouterr().out
    assert main(["similar", "--model", "models:/shop/1", "--item", "007"]) == 0
    assert capsys.readouterr().err == ""  # that says which version by itself
    assert main(["similar", "--model", figures["bundle"], "--item", "007"]) == 0
    assert "answers" not in capsys.readouterr().err  # a folder is what it is
    evaluate = ["evaluate", "--model", "models:/shop@champion", "--data", "tables", "--root", str(shop), "--json"]
    assert main(evaluate) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["hr@10"] == pytest.approx(figures["hr@10"]) and again["split_hash"] == figures["split_hash"]


def test_parts_that_the_data_says_are_the_split_unless_another_is_named(
    capsys: pytest.CaptureFixture, store: str, tmp_path: Path
) -> None:
    folder = tmp_path / "sessions"
    folder.mkdir()
    lines = [" ".join(str((n + step) % 12) for step in range(4)) for n in range(60)]
    _write(folder, "train_sessions.txt", "\n".join(lines))
    _write(folder, "test_prefix_target.tsv", "\n".join(f"{n} {n + 1}\t{(n + 2) % 12}" for n in range(11)))
    data = ["--data", "sessions", "--root", str(folder)]
    assert main(["data", *data, "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["split"] == "given" and "column 'part'" in told.err
    Path("named.yaml").write_text("split: {name: leave-one-out}")
    for named in (["--split", "leave-one-out"], ["--set", "split.name=leave-one-out"], ["--config", "named.yaml"]):
        assert main(["data", *data, "--json", *named]) == 0
        told = capsys.readouterr()
        assert json.loads(told.out)["split"] == "leave-one-out" and "column 'part'" not in told.err
    model = ["model.dim=16", "model.layers=1", "optimiser.max_epochs=1", "optimiser.backend=torch"]
    settings = [word for setting in model for word in ("--set", setting)]
    assert main(["train", "sequential", *data, "--no-mlflow", "--run-dir", "run", "--json", *settings]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["split"] == "given" and "name: given" in Path("run/config.yaml").read_text()
    assert main(["evaluate", "--model", "run/bundle", "--json", *data]) == 0
    again = json.loads(capsys.readouterr().out)
    assert (again["split_hash"], again["hr@10"]) == (figures["split_hash"], pytest.approx(figures["hr@10"]))


def test_several_seeds_give_mean_and_deviation(capsys: pytest.CaptureFixture, store: str) -> None:
    assert main(["train", "two-tower", "--seeds", "2", "--no-mlflow", "--json", *SMALL]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    runs = [one["hr@10"] for one in figures["runs"]]
    assert figures["n"] == 2 and figures["seed"] == [0, 1]
    assert figures["hr@10"] == pytest.approx(sum(runs) / 2) and figures["hr@10_sd"] >= 0


def _write(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("name", "text", "named"),
    [
        ("interactions.csv", "user_id,timestamp\nu1,1\n", "item_id"),
        ("interactions.csv", "user_id,item_id,timestamp\nu1,001,yesterday\n", "timestamp"),
        ("interactions.csv", "user_id,item_id,timestamp\nu1,,1\nu2,001,1\n", "item_id"),
        ("interactions.csv", "user_id,item_id,timestamp\n", "interactions"),
        ("interactions.csv", "", "interactions"),
        ("items.csv", "item_id,title\n001,One\n001,Two\n", "item_id"),
    ],
)
def test_a_table_that_cannot_be_used_is_named(
    capsys: pytest.CaptureFixture, store: str, shop: Path, name: str, text: str, named: str
) -> None:
    _write(shop, name, text)
    train = [
        "train",
        "two-tower",
        "--data",
        "tables",
        "--root",
        str(shop),
        "--run-dir",
        str(shop.parent / "run"),
        *QUICK,
    ]
    assert named in _error(capsys, *train)
    assert not (shop.parent / "run").exists() and not (shop.parent / "mlflow.db").exists()


def test_an_orphan_is_counted_and_by_choice_an_error(capsys: pytest.CaptureFixture, store: str, shop: Path) -> None:
    _write(shop, "items.csv", "item_id,title\n001,One\n")
    data = ["data", "--data", "tables", "--root", str(shop)]
    assert main([*data, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["orphans"] > 200
    assert "item" in _error(capsys, *data, "--set", "data.settings.on_orphans=error")


def test_a_truncated_zip_is_named(capsys: pytest.CaptureFixture, store: str, tmp_path: Path) -> None:
    whole = tmp_path / "whole.zip"
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("ml-1m/ratings.dat", "1::1::5::1\n" * 100)
    cut = tmp_path / "ml-1m.zip"
    cut.write_bytes(whole.read_bytes()[:-30])
    assert "ml-1m.zip" in _error(capsys, "data", "--data", "ml-1m", "--root", str(cut))


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["data", "--data", "ml-2m"], "ml-2m"),
        (["data", "--data", "ml-1m", "--root", "no/such/folder"], "no/such/folder"),
        (["data", "--split", "sideways"], "sideways"),
        (["data", "--set", "data.settings.colour=red"], "colour"),
        (["train", "two-tower", "--set", "model.dmi=3"], "dmi"),
        (["train", "two-tower", "--config", "absent.yaml"], "absent.yaml"),
        (["train", "two-tower", "--seeds", "0"], "--seeds"),
        (["train", "two-tower", "--no-mlflow", "--register", "x"], "--register"),
        (["recommend", "--model", "models:/nobody@champion", "--user", "1"], "mlflow.db"),
        (["recommend", "--model", "no-such-folder", "--user", "1"], "no-such-folder"),
        (["recommend", "--model", "x"], "--user"),
        (["serve"], "--entities"),
        (["evaluate", "--model", "x"], "--data"),
        (["data", "--set", "data.settings.interactions=many"], "interactions"),
        (["data", "--set", "data.settings.seed=-1"], "seed"),
        (["data", "--set", "split.settings.seed=0.5"], "seed"),
        (["train", "two-tower", "--set", "model.user_hidden=[-1]"], "user_hidden"),
        (["train", "two-tower", "--set", "loss.name=bogus"], "bogus"),
        (["train", "two-tower", "--resume", "--run-dir", "absent"], "absent"),
        (["promote", "nobody"], "mlflow.db"),
        (["rollback", "nobody"], "mlflow.db"),
    ],
)
def test_wrong_arguments_are_named(capsys: pytest.CaptureFixture, store: str, argv: list[str], named: str) -> None:
    assert named in _error(capsys, *argv)


@pytest.mark.parametrize("argv", [["fly"], ["train"], ["train", "two-towers"], ["promote"]])
def test_wrong_usage_is_one_line_and_status_2(capsys: pytest.CaptureFixture, argv: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(argv)
    assert end.value.code == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_broken_bundle_is_refused_by_name(capsys: pytest.CaptureFixture, store: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main(["train", "two-tower", "--no-mlflow", "--run-dir", str(run), *SMALL]) == 0
    capsys.readouterr()
    counts = run / "bundle" / "popularity.parquet"
    pl.read_parquet(counts).head(3).write_parquet(counts)
    assert "popularity.parquet" in _error(capsys, "recommend", "--model", str(run / "bundle"), "--user", "u00001")


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_a_shell_completes_verbs_and_options(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "recsys"
    script.write_text(capsys.readouterr().out)

    def completed(*words: str) -> list[str]:
        listed = " ".join(words)
        asked = f"source {script}; COMP_WORDS=({listed}); COMP_CWORD={len(words) - 1}; _shtab_recsys; "
        done = subprocess.run(
            ["bash", "-c", asked + 'echo "${COMPREPLY[@]}"'], capture_output=True, text=True, check=True
        )
        return done.stdout.split()

    assert completed("recsys", "pro") == ["promote"]
    assert "--model" in completed("recsys", "serve", "--mo")
    assert "--left" in completed("recsys", "match", "train", "--le")
