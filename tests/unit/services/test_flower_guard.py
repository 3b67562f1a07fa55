"""Flower manages nothing where others can reach it, whoever named the address."""

import ssl
from types import SimpleNamespace

import pytest

from broker import redis_transport
from services.flower_guard import _guarded, masked, tls_of


@pytest.mark.parametrize(("address", "read_only"), [("127.0.0.1", False), ("0.0.0.0", True), ("", True)])
def test_flower_is_read_only_on_any_address_but_this_machines_own(address, read_only):
    options = SimpleNamespace(address=address, read_only=False)
    request = SimpleNamespace(host_name="localhost", host="localhost:5555", headers={})
    page = SimpleNamespace(application=SimpleNamespace(options=options), request=request, current_user=True)

    assert _guarded(lambda _: "shown", str)(page) == "shown"

    assert options.read_only is read_only


def test_a_tasks_secrets_are_masked_wherever_its_text_has_them():
    told = "{'accessToken': 'planted'}"
    task = masked(
        SimpleNamespace(args=f"({told},)", kwargs=told, result=told, exception=f"Error({told})", traceback=told)
    )
    assert "planted" not in str(task)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://127.0.0.1:1/0", None),
        ("rediss://127.0.0.1:1/0", None),
        (
            "rediss://127.0.0.1:1/0?ssl_cert_reqs=required&ssl_ca_certs=/ca.pem",
            {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_ca_certs": "/ca.pem"},
        ),
        ("amqps://127.0.0.1:1/x?ssl_ca_certs=/ca.pem", None),
    ],
)
def test_flowers_broker_page_is_told_what_the_url_says_of_certificates(url, said):
    redis_transport.register()
    assert tls_of(url) == said
