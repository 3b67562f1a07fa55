"""Tokens of unsubscribe addresses: each says one address and list, and nobody else can make one."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.unsubscribing import LONGEST_TOKEN, Subscription, Unsubscribing

OURS = Unsubscribing("k" * 64, "https://mail.example.org/")
ADDRESS = st.from_regex(r"[a-z0-9][a-z0-9_+-]{0,20}@[a-z0-9]{1,10}\.(com|org)", fullmatch=True)
NAME = st.one_of(
    st.none(), st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=50)
)


def test_an_address_of_the_web_names_the_service_and_its_token():
    url = OURS.url("Ann <ANN@example.com>", "news")
    start, _, token = url.rpartition("/")
    assert start == "https://mail.example.org/api/v1/unsubscribe"
    assert OURS.read(token) == Subscription("ann@example.com", "news")
    assert url == OURS.url("ann@EXAMPLE.com", "news")


def test_only_https_is_for_a_header():
    assert OURS.one_click
    assert not Unsubscribing("k", "http://localhost:8001").one_click


def test_the_key_is_not_shown():
    assert "kkk" not in repr(OURS)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        *[("nobody", None), ("a@example.com", "all"), ("a@example.com", ""), ("a@example.com", "a\nb")],
        ("a@example.com", "会" * 101),
    ],
)
def test_what_is_no_address_or_no_list_has_no_token(address, name):
    with pytest.raises(ValueError, match=r"must|should|least"):
        OURS.url(address, name)


@pytest.mark.parametrize("name", ["n" * 200, "é" * 150, "会" * 100, "\U0001f600" * 75])
def test_the_longest_name_of_a_list_and_address_fit_a_line_of_a_mail(name):
    longest = "a" * 64 + "@" + ".".join(["b" * 61] * 3) + ".de"
    assert len(f"List-Unsubscribe: <{OURS.url(longest, name)}>") <= 998


@given(address=ADDRESS, name=NAME)
def test_a_token_says_what_it_was_made_of(address, name):
    if name == "all":
        return
    assert OURS.read(OURS.token(address, name)) == Subscription(address, name)


@given(address=ADDRESS, other=ADDRESS, name=NAME.filter(lambda name: name != "all"))
def test_another_address_has_another_token_and_another_key_reads_none(address, other, name):
    token = OURS.token(address, name)
    assert (token == OURS.token(other, name)) == (address == other)
    assert Unsubscribing("x" * 64, OURS.base_url).read(token) is None


@given(address=ADDRESS, other=ADDRESS.map(lambda address: "x" + address))
def test_the_signature_of_one_address_is_none_of_another(address, other):
    raw = base64.urlsafe_b64decode(OURS.token(address) + "==")
    forged = base64.urlsafe_b64encode(raw[:33] + f"{other}\0".encode()).rstrip(b"=").decode()
    assert OURS.read(forged) is None or other == address


@given(address=ADDRESS, data=st.data())
def test_a_token_with_one_other_letter_is_none(address, data):
    token = OURS.token(address, "news")
    place = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(
        st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_").filter(
            lambda one: one != token[place]
        )
    )
    assert OURS.read(token[:place] + letter + token[place + 1 :]) is None


@given(
    token=st.one_of(
        st.text(max_size=300), st.binary(max_size=300).map(lambda raw: base64.urlsafe_b64encode(raw).decode())
    )
)
def test_anything_else_is_no_token(token):
    assert OURS.read(token) is None


@pytest.mark.parametrize(
    "token",
    ["", "A", "AQ", "A" * (LONGEST_TOKEN + 4), OURS.token("a@example.com") + "=", OURS.token("a@example.com") + "\n"],
)
def test_what_is_damaged_is_no_token(token):
    assert OURS.read(token) is None
