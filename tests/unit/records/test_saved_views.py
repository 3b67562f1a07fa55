"""Saved views: each user's own, replaced by their name, and not without end."""

from records import saved_views
from records.saved_views import SavedViews


def test_views_are_each_owners_own_and_replaced_by_their_name(database):
    views = SavedViews(database)
    assert views.save("ann", "b", "x=1")
    assert views.save("ann", "a", "x=2")
    assert views.save("bob", "a", "x=3")
    assert views.save("ann", "b", "x=4")
    assert list(views.of("ann").items()) == [("a", "x=2"), ("b", "x=4")]
    assert views.remove("ann", "a")
    assert not views.remove("ann", "a")
    assert (views.of("ann"), views.of("bob")) == ({"b": "x=4"}, {"a": "x=3"})


def test_one_owner_has_no_more_than_the_most(database, monkeypatch):
    monkeypatch.setattr(saved_views, "MOST", 2)
    views = SavedViews(database)
    assert [views.save("carol", name, "") for name in "abc"] == [True, True, False]
    assert views.save("carol", "b", "x=1")
    assert views.save("dave", "c", "")
