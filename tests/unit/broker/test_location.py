"""Where the broker is, as it may be told."""

from broker.location import BrokerLocation


def test_a_location_tells_no_password_when_it_is_printed():
    location = BrokerLocation("sentinel://:hidden@10.0.0.1:26379", "CELERY_BROKER_URL", {"password": "hidden"})
    assert "hidden" not in f"{location!r} {location} {location.shown}"
