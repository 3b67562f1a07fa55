"""Entities: each kind in the forms that people write, in its standard form, where it stands, and in little time."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from processors.entities import MOST_ENTITIES, MOST_PHONE_TRIES, SEARCHED_CHARACTERS, find_entities

MIXED = (
    "Ann <ann@example.org> pays $1,234.56 by 24.12.2026: see https://example.org/2026-12-24?sum=5EUR or call "
    "+49 30 901820, or 12/11/2026 at the latest 5 EUR 10 EUR."
)


def found(text: str, language: str = "en") -> list[tuple]:
    return [(one.kind, one.text, one.value) for one in find_entities(text, language).found]


def only(text: str, language: str = "en"):
    (one,) = find_entities(text, language).found
    assert text[slice(*one.range)] == one.text
    return one


def test_every_kind_is_found_in_the_texts_order():
    assert found(MIXED) == [
        ("email", "ann@example.org", "ann@example.org"),
        ("amount", "$1,234.56", "1234.56"),
        ("date", "24.12.2026", "2026-12-24"),
        ("url", "https://example.org/2026-12-24?sum=5EUR", "https://example.org/2026-12-24?sum=5EUR"),
        ("phone", "+49 30 901820", "+4930901820"),
        ("date", "12/11/2026", None),
        ("amount", "5 EUR", "5"),
        ("amount", "10 EUR", "10"),
    ]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("bob.o'neil+x@Mail.Example.COM", "bob.o'neil+x@mail.example.com"),
        ("'ann@example.org'", "ann@example.org"),
        ("mailto:ann@example.org.", "ann@example.org"),
        ("jürgen@bücher.example", "jürgen@bücher.example"),
        ("иван2020@пример.рф", "иван2020@пример.рф"),
        ("用户@例子.广告", "用户@例子.广告"),
    ],
)
def test_an_address_is_found_without_what_stands_around_it(text, value):
    assert only(text).value == value


@pytest.mark.parametrize(
    "text",
    ["ann@example", "ann@-example.org", "@example.org", "ann@example.o", "a b@ c.org", f"{'a' * 65}@example.org"],
)
def test_what_is_no_address_is_none(text):
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("(https://example.org/a_(b)).", "https://example.org/a_(b)"),
        ("“http://example.org/?q=ü!”", "http://example.org/?q=ü"),
        ("HTTPS://Example.org/A, then", "HTTPS://Example.org/A"),
        ("http://[2001:db8::1]/x", "http://[2001:db8::1]/x"),
    ],
)
def test_a_url_ends_before_what_belongs_to_the_sentence(text, value):
    assert only(text).value == value


def test_a_url_without_scheme_says_which_was_assumed():
    one = only("see www.example.org.")
    assert (one.text, one.value, one.assumed) == ("www.example.org", "http://www.example.org", "http")


@pytest.mark.parametrize("text", ["http://", "http://[bad", "http://a..b/", "www.", "(www.)", "awww.x.org"])
def test_what_names_no_host_is_no_url(text):
    assert found(text) == []


@pytest.mark.parametrize(
    ("language", "text", "value", "assumed"),
    [
        ("de", "030 901820", "+4930901820", "DE"),
        ("en", "(212) 736-5000", "+12127365000", "US"),
        ("en-GB", "020 7219 3000", "+442072193000", "GB"),
        ("zh-Hant-TW", "02 2311 3731", "+886223113731", "TW"),
        ("de", "+1 212 736 5000", "+12127365000", None),
    ],
)
def test_a_phone_number_is_told_in_e164_with_the_region_that_was_assumed(language, text, value, assumed):
    one = only(text, language)
    assert (one.kind, one.value, one.assumed) == ("phone", value, assumed)


def test_a_number_without_plus_is_not_found_in_a_language_that_names_no_region():
    assert found("(212) 736-5000", "eo") == []
    assert found("+1 212 736 5000", "eo") == [("phone", "+1 212 736 5000", "+12127365000")]


@pytest.mark.parametrize(
    "text",
    [
        "2026-12-24",
        "24.12.2026",
        "24. 12. 2026",
        "12/24/2026",
        "24/12/2026",
        "24-12-2026",
        "24 December 2026",
        "24th of December, 2026",
        "December 24th, 2026",
        "DEC. 24 2026",
        "24. Dezember 2026",
        "24 décembre 2026",
        "24 de diciembre de 2026",
        "24 de diciembre del 2026",
    ],
)
def test_a_date_is_told_in_iso_form(text):
    one = only(f"on {text}, they said")
    assert (one.kind, one.text, one.value) == ("date", text, "2026-12-24")


def test_the_first_of_a_month_is_read_as_french_writes_it():
    assert only("le 1er août 2026").value == "2026-08-01"


def test_a_date_that_may_be_two_days_is_neither_and_lists_both():
    one = only("12/11/2026")
    assert (one.value, one.possible) == (None, ["2026-11-12", "2026-12-11"])
    assert (only("5/5/2026").value, only("5/5/2026").possible) == ("2026-05-05", [])


@pytest.mark.parametrize(
    "text", ["31.02.2026", "2026-13-01", "13/13/2026", "1.2.3.2026", "24 Decembre2026", "May 2026"]
)
def test_what_no_calendar_has_is_no_date(text):
    assert found(text) == []


def test_a_letter_that_only_passes_for_one_of_a_months_name_breaks_nothing():
    assert found("24 aprıl 2026") == []


@pytest.mark.parametrize(
    ("text", "value", "currency", "assumed"),
    [
        ("$1,234.56", "1234.56", "USD", "USD"),
        ("1.234,56 €", "1234.56", "EUR", None),
        ("1 234,50 €", "1234.50", "EUR", None),
        ("1\u202f234 EUR", "1234", "EUR", None),
        ("CHF 1'234.50", "1234.50", "CHF", None),
        ("EUR 5", "5", "EUR", None),
        ("£-7.50", "-7.50", "GBP", None),
        ("-$5", "-5", "USD", "USD"),
        ("\u22125 €", "-5", "EUR", None),
        ("¥500", "500", "JPY", "JPY"),
        ("US$3.5 million", "3500000", "USD", None),
        ("3,5 Mrd. €", "3500000000", "EUR", None),
        ("$100 CAD", "100", "CAD", None),
        ("5,- €", "5", "EUR", None),
        ("0.123 EUR", "0.123", "EUR", None),
        ("250 Kč", "250", "CZK", None),
    ],
)
def test_an_amount_is_a_decimal_number_and_a_currency(text, value, currency, assumed):
    one = only(f"pay {text} now")
    assert (one.kind, one.text, one.value, one.currency, one.assumed) == ("amount", text, value, currency, assumed)


def test_a_currency_stands_by_its_own_number():
    assert [text for _, text, _ in found("5 EUR 10 EUR")] == ["5 EUR", "10 EUR"]
    assert [text for _, text, _ in found("5€10€")] == ["5€", "10€"]
    assert [text for _, text, _ in found("€5 €10")] == ["€5", "€10"]
    assert [text for _, text, _ in found("THE 5 EUR")] == ["5 EUR"]


def test_three_digits_behind_a_separator_may_be_decimals_of_a_currency_that_has_so_many():
    one = only("KWD 1.234")
    assert (one.value, one.possible) == (None, ["1.234", "1234"])
    assert only("KWD 12.345.678").value == "12345678"


@pytest.mark.parametrize("text", ["TOP 10", "MX$5", "1.2.3 EUR", "5 eur", "EURO 5", "5 EURO", "$", "USD"])
def test_what_names_no_currency_is_no_amount(text):
    assert found(text) == []


def test_what_lies_in_a_url_or_an_address_is_nothing_of_its_own():
    assert [kind for kind, *_ in found("https://example.org/ann@example.org/24.12.2026/+4930901820")] == ["url"]
    assert [kind for kind, *_ in found("24.12.2026@example.org")] == ["email"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("詳細はhttps://example.com/a、または", "https://example.com/a"),
        ("参照（https://example.com/a）。", "https://example.com/a"),
        ("価格は¥1,000です", "1000"),
        ("售价€20起", "20"),
    ],
)
def test_scripts_without_spaces_need_none_before_an_address_or_a_price(text, value):
    assert only(text, "ja").value == value


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("联系test@example.com谢谢", "test@example.com"),
        ("邮箱123456@qq.com或者打电话", "123456@qq.com"),
        ("人々info@example.co.jpまで", "info@example.co.jp"),
        ("他说'ann.b@example.com'。", "ann.b@example.com"),
        ("문의는test@example.com으로", "test@example.com"),
        ("发到ann@例子.广告", "ann@例子.广告"),
        ("站长@example.com谢谢.再见", "站长@example.com"),
    ],
)
def test_a_mail_address_ends_where_chinese_japanese_or_korean_begins(text, address):
    assert [one.text for one in find_entities(text, "zh").found] == [address]


def test_ranges_count_code_points():
    assert only("𝟘🙂é ann@example.org").range == (4, 19)


def test_at_most_a_thousand_are_told_the_first_ones_and_that_there_are_more():
    every = find_entities("ann@example.org 5 EUR " * 600, "en")
    assert (len(every.found), every.complete) == (MOST_ENTITIES, False)
    assert [one.kind for one in every.found[-2:]] == ["email", "amount"]
    assert every.found[-1].range[1] <= 22 * 500
    assert find_entities("ann@example.org " * MOST_ENTITIES, "en").complete


def test_a_word_that_is_cut_where_the_search_ends_is_not_told_by_half():
    text = f"{'x ' * (SEARCHED_CHARACTERS // 2 - 8)}ann@example.community and more"
    every = find_entities(text, "en")
    assert (every.found, every.complete) == ([], False)


def test_so_many_figures_that_phone_numbers_are_no_longer_looked_for_are_no_complete_search():
    table = "1234567890 " * MOST_PHONE_TRIES
    assert not find_entities(f"{table} +49 30 901820", "en").complete
    assert find_entities(table[: len(table) // 2], "en").complete


HOSTILE = [
    "a.",
    "1 ",
    "1 111 ",
    "a@",
    "a@a.",
    "a'",
    "字",
    "字a",
    "字@字.",
    "http://a)",
    "(",
    "24 dec ",
    "dec 2 ",
    "EUR 1 ",
    "212-555-",
    "@",
    "-",
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_the_work_grows_no_faster_than_the_text(piece):
    """Quadratic time would be minutes here, in which the run's own limit ends the test."""
    find_entities(piece * (200_000 // len(piece)), "en")


@given(st.text() | st.text("0123456789.,/-+@:$€ aeMyjundEURhtpw(')字の"))
@example("24 aprıl 2026")
@example("\ud800 ann@example.org")
def test_any_text_is_searched_and_every_range_points_at_what_was_found(text):
    every = find_entities(text, "en").found
    assert all(text[slice(*one.range)] == one.text for one in every)
    assert all(one.range[1] <= other.range[0] for one, other in pairwise(every))
    assert all((one.value is None) == (len(one.possible) > 1) for one in every)
