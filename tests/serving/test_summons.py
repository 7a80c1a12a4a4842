"""A call is heard once by everybody but who calls."""

from __future__ import annotations

from serving.summons import Summons


def test_a_call_is_heard_once_by_all_others(tmp_path):
    one, two, three = (Summons(tmp_path) for _ in range(3))
    assert not any(each.heard() for each in (one, two, three))
    one.call()
    assert [each.heard() for each in (one, two, three)] == [False, True, True]
    assert [each.heard() for each in (one, two, three)] == [False, False, False]
    two.call()
    three.call()  # who has missed one hears the other
    assert [each.heard() for each in (one, two, three)] == [True, True, False]
    assert not Summons(tmp_path).heard()  # nobody is called before they are there
    assert [path.name for path in tmp_path.iterdir()] == ["summons"]


def test_who_is_alone_or_cannot_write_is_not_stopped(tmp_path):
    alone = Summons()
    alone.call()
    assert not alone.shared and not alone.heard()
    gone = Summons(tmp_path / "gone")
    gone.call()
    assert gone.shared and not gone.heard()
