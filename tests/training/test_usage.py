"""Wrong usage is told by the verb whose it is, with what was perhaps meant, and by one process of a machine."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

from training import usage
from training.cli import main, parser

ROOT = Path(__file__).parents[2]


def told(capsys: pytest.CaptureFixture, *argv: str) -> str:
    """The one line that a refused command line is answered with."""
    try:
        assert main(argv) == 2
    except SystemExit as end:
        assert end.code == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    return err.rstrip("\n")


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        ("recommend --model m --users u", "recsys recommend: error: there is no option --users; did you mean --user?"),
        ("recommend --users u", "recsys recommend: error: there is no option --users; did you mean --user?"),
        ("recommend --user=u --rer", "recsys recommend: error: there is no option --rer; did you mean --rerank?"),
        ("recommend --user u --zzz=3", "recsys recommend: error: there is no option --zzz"),
        ("recommend --user u --model m -K 3", "recsys recommend: error: there is no option -K; did you mean -k?"),
        ("similar --model m --items i", "recsys similar: error: there is no option --items; did you mean --item?"),
        ("match train --lef a.csv", "recsys match train: error: there is no option --lef; did you mean --left?"),
        ("users erase u --event e", "recsys users erase: error: there is no option --event; did you mean --events?"),
        ("doctor now", "recsys doctor: error: nothing takes the argument 'now'"),
        ("match train --data deepmatcher --root no/such", "recsys match train: error: --root: there is no no/such"),
        ("match predict --left a.csv --out o.csv --model m", "recsys match predict: error: --left: there is no a.csv"),
        ("resolve a=no.csv --into map", "recsys resolve: error: the table a: there is no no.csv"),
        ("serve --model m --port 80000", "recsys serve: error: --port is from 0 to 65535, got 80000"),
        ("serve --model m --port -1", "recsys serve: error: --port is from 0 to 65535, got -1"),
    ],
)
def test_the_verb_says_what_is_wrong_and_what_was_perhaps_meant(capsys, tmp_path, monkeypatch, argv, line) -> None:
    monkeypatch.chdir(tmp_path)
    assert told(capsys, *argv.split()) == line


def test_what_looks_like_an_option_may_be_a_value() -> None:
    given = parser("rollback").parse_args(["rollback", "shop", "--why", "--because it lost -- so", "--by=--me"])
    assert (given.why, given.by, given.called) == ("--because it lost -- so", "--me", "recsys rollback")
    assert parser("promote").parse_args(["promote", "--why", "x", "--", "--name"]).name == "--name"


def test_k_is_called_by_either_name() -> None:
    for verb in ("recommend --user u", "similar --item i"):
        for k in ("-k 3", "-k3", "--k 3", "--k=3"):
            words = [*verb.split(), "--model", "m", *k.split()]
            given = parser(words[0]).parse_args(words)
            assert given.k == 3 and getattr(given, "keep_seen", None) is None


def test_no_parser_takes_beginnings_of_options() -> None:
    def below(one: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
        verbs = [action for action in one._actions if isinstance(action, argparse._SubParsersAction)]
        return [one, *(found for action in verbs for verb in action.choices.values() for found in below(verb))]

    parsers = below(parser())
    assert len(parsers) > 20 and not any(one.allow_abbrev for one in parsers)


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["train", "two-tower", "--data", "tables", "--root", "absent"], "--root: there is no absent"),
        (["train", "two-tower", "--data", "table"], "there is no data source 'table'"),
        (["data", "--data", "tables", "--root", "absent"], "--root: there is no absent"),
        (["match", "train", "--left", "README.md", "--pairs", "no.csv"], "--pairs: there is no no.csv"),
        (["recommend", "--user", "u", "--model", "absent"], "there is no bundle at absent"),
        (["evaluate", "--data", "generated", "--model", "absent"], "there is no bundle at absent"),
    ],
)
def test_what_is_not_there_is_told_before_torch_is_imported(argv: list[str], named: str) -> None:
    code = "import sys; from training.cli import main; main(sys.argv[1:]); sys.exit('torch' in sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", code, *argv],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0 and named in ended.stderr and "reading" not in ended.stderr


def test_a_source_that_a_file_names_wrongly_is_told_before_it_is_read(capsys) -> None:
    assert "there is no data source 'table'" in told(capsys, "train", "two-tower", "--set", "data.name=table")


def test_settings_are_printed_whether_the_data_are_there_or_not(capsys) -> None:
    assert main(["train", "two-tower", "--data", "tables", "--root", "absent", "--print-config"]) == 0
    assert "root: absent" in capsys.readouterr().out


def test_one_process_of_a_machine_tells_and_the_others_wait_to_be_ended(capsys, monkeypatch) -> None:
    waited: list[float] = []
    silent: list[str] = []

    def ended(seconds: float) -> None:
        waited.append(seconds)
        silent.append(capsys.readouterr().err)

    monkeypatch.setattr(usage.time, "sleep", ended)
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert "--root" in told(capsys, "data", "--root", "absent")
    assert not waited
    monkeypatch.setenv("LOCAL_RANK", "1")
    # who is not ended has something to tell that the first has not
    assert "--root" in told(capsys, "data", "--root", "absent")
    assert waited == [usage.PATIENCE] and silent == [""]


def test_several_processes_are_told_of(capsys, monkeypatch) -> None:
    from training.commands.options import say_reading
    from training.config import TrainConfig

    say_reading(TrainConfig())
    monkeypatch.setenv("WORLD_SIZE", "2")
    say_reading(TrainConfig())
    monkeypatch.setenv("RANK", "1")
    say_reading(TrainConfig())
    assert capsys.readouterr().err.splitlines() == ["reading generated", "reading generated, to train in 2 processes"]
