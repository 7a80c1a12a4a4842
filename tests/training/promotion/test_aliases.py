"""Alias moves: who, when and why stand on the versions, and of two promotions at once one wins."""

import datetime
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from features.errors import InputError
from training.cli import main
from training.promotion import Gate, rollback
from training.promotion.aliases import Candidates, candidates, challenge, move

ROOT = Path(__file__).parents[3]


def test_a_promotion_says_who_when_why_and_what_was_measured(registry):
    gates = (Gate("ndcg@10", True, "fine", {"before": 0.123456789, "after": 0.2}), Gate("golden", None, "none", {}))
    done = move("shop", Candidates("1", None), "it is the first", "ada", registry.uri, gates, {"since": 17})
    assert (done.champion, done.previous) == ("1", None) and registry.aliases() == {"champion": "1"}
    tags = registry.tags("1")
    assert (tags["promoted_by"], tags["promoted_why"]) == ("ada", "it is the first")
    when = datetime.datetime.fromisoformat(tags["promoted_at"])
    assert abs((datetime.datetime.now(datetime.UTC) - when).total_seconds()) < 600
    told = json.loads(tags["promoted_gates"])
    assert told == {"passed": ["ndcg@10"], "since": 17, "ndcg@10": {"before": 0.123457, "after": 0.2}}


def test_the_champion_that_was_is_previous_and_the_challenger_is_none_any_more(registry):
    challenge("shop", "2", registry.uri)
    between = candidates("shop", uri=registry.uri)
    assert between == Candidates("2", None)
    move("shop", between, "", uri=registry.uri)
    challenge("shop", "3", registry.uri)
    assert candidates("shop", "1", registry.uri) == Candidates("1", "2")
    assert str(move("shop", candidates("shop", uri=registry.uri), "", uri=registry.uri)) == (
        "shop: version 3 is champion (previous: version 2)"
    )
    assert registry.aliases() == {"champion": "3", "previous": "2"}
    assert candidates("shop", uri=registry.uri).chosen == "4"  # the newest, where nothing challenges


def test_rollback_says_why_on_both_and_is_undone_by_who_wants_that(registry):
    for version in ("1", "2"):
        move("shop", candidates("shop", version, registry.uri), f"as {version}", "ada", registry.uri)
    back = rollback("shop", registry.uri, "lists were empty", "bob")
    assert (back.champion, back.previous) == ("1", "2") and registry.aliases() == {"champion": "1", "previous": "2"}
    now, then = registry.tags("1"), registry.tags("2")
    assert (now["promoted_by"], now["promoted_why"]) == ("bob", "rollback of version 2: lists were empty")
    assert (then["rolled_back_by"], then["rolled_back_why"]) == ("bob", "lists were empty")
    assert then["promoted_why"] == "as 2" and then["rolled_back_at"] == now["promoted_at"] == back.at
    undone = rollback("shop", registry.uri, "it was the network", "eve", undo=True)
    assert undone.champion == "2" and registry.aliases() == {"champion": "2", "previous": "1"}
    assert "rolled_back_by" not in registry.tags("2") and "rolled_back_by" not in registry.tags("1")
    assert registry.tags("2")["promoted_why"] == "undone: rollback of version 2: it was the network"
    assert rollback("shop", registry.uri).champion == "1"  # which is another one


def test_a_second_rollback_does_not_bring_back_what_the_first_took_away(registry, capsys):
    for version in ("1", "2"):
        move("shop", candidates("shop", version, registry.uri), "", "ada", registry.uri)
    with pytest.raises(InputError, match="version 1 of the model 'shop' is previous and was not rolled back"):
        rollback("shop", registry.uri, undo=True)
    at = rollback("shop", registry.uri, "lists were empty", "bob").at
    with pytest.raises(InputError) as told:
        rollback("shop", registry.uri, "lists are empty", "eve")
    assert str(told.value) == (
        f"version 2 of the model 'shop' was rolled back by bob at {at} (lists were empty), and another rollback would "
        "make it champion again: `recsys rollback shop --undo` does, and `recsys promote shop VERSION --no-gates --why "
        "TEXT` goes to any other version"
    )
    assert registry.aliases() == {"champion": "1", "previous": "2"} and registry.tags("1")["promoted_by"] == "bob"
    assert main(["rollback", "shop", "--tracking-uri", registry.uri]) == 2
    assert "was rolled back by bob" in capsys.readouterr().err
    assert main(["rollback", "shop", "--undo", "--tracking-uri", registry.uri]) == 0
    assert registry.aliases() == {"champion": "2", "previous": "1"}
    # a version that is promoted after a rollback can be rolled back itself
    rollback("shop", registry.uri)
    move("shop", candidates("shop", "3", registry.uri), "", "ada", registry.uri)
    assert rollback("shop", registry.uri).champion == "1"


def test_a_champion_that_was_not_compared_with_is_not_replaced(registry):
    seen = candidates("shop", "2", registry.uri)
    move("shop", candidates("shop", "3", registry.uri), "a hurry", "eve", registry.uri)
    with pytest.raises(InputError) as told:
        move("shop", seen, "", "ada", registry.uri)
    assert str(told.value) == (
        f"eve made version 3 of the model 'shop' champion at {registry.tags('3')['promoted_at']} (a hurry): version 2 "
        "was compared with no champion, so compare it again"
    )
    assert registry.aliases() == {"champion": "3"} and "promoted_by" not in registry.tags("2")
    registry.client.delete_registered_model_alias("shop", "champion")
    with pytest.raises(InputError, match="version 3 of the model 'shop' is champion no more"):
        move("shop", Candidates("2", "3"), "", uri=registry.uri)
    registry.client.set_registered_model_alias("shop", "champion", "4")  # by some other tool
    with pytest.raises(InputError, match="version 4 of the model 'shop' has become champion meanwhile"):
        move("shop", Candidates("2", "3"), "", uri=registry.uri)


@pytest.mark.parametrize(
    ("name", "version", "words"),
    [
        ("shoe", None, "no model is registered under the name 'shoe'"),
        ("it's", None, 'no model is registered under the name "it\'s"'),
        ("shop", "99", "the model 'shop' has no version 99"),
        ("shop", "x", "the model 'shop' has no version x"),
        ("shop", "1", "version 1 of the model 'shop' is champion already"),
    ],
)
def test_what_is_not_there_or_needs_no_promotion_is_told(registry, name, version, words):
    move("shop", Candidates("1", None), "", uri=registry.uri)
    with pytest.raises(InputError, match=words):
        candidates(name, version, registry.uri)


def test_without_a_previous_version_nothing_is_rolled_back(registry):
    with pytest.raises(InputError, match="no previous version"):
        rollback("shop", registry.uri)
    with pytest.raises(InputError, match="no model is registered under the name 'shoe'"):
        rollback("shoe", registry.uri)


PROMOTES = """
import sys, time
from pathlib import Path
from features.errors import InputError
from training.promotion.aliases import candidates, move

version, uri, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
between = candidates("shop", version, uri)
(folder / f"ready-{version}").touch()
while not (folder / "go").exists():
    time.sleep(0.01)
try:
    move("shop", between, "the race", f"racer {version}", uri)
    print("won")
except InputError as error:
    print(error)
"""


def test_of_two_processes_that_promote_at_once_one_wins_and_the_other_is_told(registry):
    move("shop", Candidates("1", None), "", uri=registry.uri)
    command = [sys.executable, "-c", PROMOTES]
    racers = {
        version: subprocess.Popen(
            [*command, version, registry.uri, str(registry.folder)], stdout=-1, text=True, cwd=ROOT
        )
        for version in ("2", "3")
    }
    while not all((registry.folder / f"ready-{version}").exists() for version in racers):
        assert all(one.poll() is None for one in racers.values())
        time.sleep(0.02)
    (registry.folder / "go").touch()
    said = {version: one.communicate(timeout=60)[0].strip() for version, one in racers.items()}
    (winner,) = [version for version, one in said.items() if one == "won"]
    loser = {"2": "3", "3": "2"}[winner]
    assert f"racer {winner} made version {winner} of the model 'shop' champion at" in said[loser]
    assert f"(the race): version {loser} was compared with version 1, so compare it again" in said[loser]
    assert registry.aliases() == {"champion": winner, "previous": "1"}
