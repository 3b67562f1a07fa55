"""Phone numbers: one form for every spelling, nothing shown that need not be, and no call to an emergency number."""

import re
import subprocess
import sys
from zoneinfo import ZoneInfo

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import timezone, tzdata

from processors.errors import InvalidArgument
from processors.phone_numbers import E164, calling_code, check_valid, masked, normalised, refusal, zones

DOCUMENTED = ["+1234567890", "+1234567891", "+1234567892", "+1234567893", "+1987654321"]


@pytest.mark.parametrize(
    ("written", "number"),
    [
        *[(number, number) for number in DOCUMENTED],
        ("+1 (234) 567-890", "+1234567890"),
        ("  +1.234.567.8901\n", "+12345678901"),
        ("tel:+1-234-567-8901", "+12345678901"),
        ("TEL: +1 234 567 8901", "+12345678901"),
        ("+49\u00a0170\u202f123\u20094567", "+491701234567"),
        ("+49\u2010170\u2013123\u20144567", "+491701234567"),
        ("+1\u2212234\u2212567\u22128901", "+12345678901"),
        ("\u202a+49 170 1234567\u202c", "+491701234567"),
        ("\ufeff+49 170 1234567\u200b", "+491701234567"),
        ("＋４９（１７０）１２３４５６７", "+491701234567"),
        ("+٤٩ ١٧٠ ١٢٣٤٥٦٧", "+491701234567"),
        ("+४९ १७० १२३४५६७", "+491701234567"),
        ("+44 (0)20 7946 0000", "+442079460000"),
        ("+44 (020) 7946 0000", "+4402079460000"),
        ("+1 (0) 2", None),
        ("+1234567", "+1234567"),
        ("+123456789012345", "+123456789012345"),
        ("+123456", None),
        ("+1234567890123456", None),
        ("+0123456789", None),
        ("1234567890", None),
        ("0049 170 1234567", None),
        ("00491701234567", None),
        ("++1234567890", None),
        ("+1234567890+", None),
        ("+1 234 567 8901 x12", None),
        ("+1 234 567 8901;ext=12", None),
        ("+1-800-FLOWERS", None),
        ("+49 170 1234567/68", None),
        ("+49 170 123456\u00b2", None),
        ("+49 170 123456\x00", None),
        ("sip:+1234567890@example.com", None),
        ("", None),
        (" \u200b", None),
        ("+", None),
        ("\ud800+1234567890", None),
        ("+" + "1" * 1_000_000, None),
        (12345678901, None),
        (None, None),
        (b"+491701234567", None),
    ],
)
def test_every_spelling_has_one_form_and_what_is_no_number_is_refused(written, number):
    if number is None:
        with pytest.raises(InvalidArgument, match=r"^to_number: must be a phone number like .*; got .+\.$"):
            normalised(written, name="to_number")
    else:
        assert normalised(written) == number


@given(st.text(max_size=40) | st.from_regex(r"[+0]{0,2}[0-9 ()/x.-]{5,25}", fullmatch=True))
def test_a_form_is_one_of_e164_and_its_own_and_a_refusal_shows_two_digits_at_most(text):
    error = ""
    try:
        number = normalised(text)
    except InvalidArgument as refused:
        error = str(refused)
    if not error:
        assert E164.fullmatch(number)
        assert normalised(number) == number
        return
    assert (
        sum(map(str.isdigit, error.partition("; got ")[2])) <= 7
    )  # a calling code, two digits, and how many there are
    assert not any(digits in error for digits in re.findall(r"[0-9]{6,}", text))


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("+1234567890", "+1 *** **90"),
        ("+491701234567", "+49 *** **67"),
        ("+35312345678", "+353 *** **78"),
        ("+8801712345678", "+880 *** **78"),
        ("0170 1234567", "*** **67"),
        ("12345", "***"),
        ("hello", "***"),
        ("", "***"),
    ],
)
def test_what_is_shown_of_a_number_is_its_calling_code_and_two_digits(number, shown):
    assert masked(number) == shown


def test_calling_codes_are_those_of_the_library():
    for code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
        assert calling_code(f"+{code}5550100000"[:16]) == str(code)


@pytest.mark.parametrize("number", ["+14155552671", "+491701234567", "+442071838750", "+12025550100", "+80012345678"])
def test_a_valid_number_passes_the_strict_check(number):
    check_valid(number)


@pytest.mark.parametrize("number", ["+1234567890", "+11234567890", "+551191234567", "+9991234567", "+49110110110"])
def test_an_invalid_number_does_not_and_is_masked(number):
    with pytest.raises(InvalidArgument, match="to_number: must be in the numbering plan") as caught:
        check_valid(number, name="to_number")
    assert number[4:] not in str(caught.value)


@pytest.mark.parametrize(
    ("number", "why"),
    [
        *[(number, None) for number in DOCUMENTED],
        ("+14155552671", None),
        ("+18004444444", None),
        ("+8613912345678", None),  # the library takes its shape for a short number's
        ("+9991234567", None),
        ("+19005551234", "premium"),
        ("+449098790000", "premium"),
        ("+979123456789", "premium"),
        ("+4911012345", "emergency"),
        ("+44999999999", "emergency"),
        ("+19115551234", "emergency"),
        ("+44116123", "short"),
        ("+8612345", "short"),
    ],
)
def test_emergency_short_and_premium_numbers_are_refused_and_no_others(number, why):
    found = refusal(number)
    assert found is None if why is None else found is not None and why in found


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("+14155552671", ("America/Los_Angeles",)),
        ("+12085551234", ("America/Boise", "America/Los_Angeles")),
        ("+4915112345678", ("Europe/Berlin",)),
        ("+870776543210", ()),
        ("+1234567890", ()),
        ("+9991234567", ()),
    ],
)
def test_a_number_has_the_zones_that_it_may_be_in_and_none_where_nobody_knows(number, expected):
    assert zones(number) == expected


def test_a_number_without_a_place_is_in_all_zones_of_its_code():
    assert len(zones("+18004444444")) > 30


def test_every_zone_of_the_library_is_one_of_ours():
    names = {name for found in tzdata.TIMEZONE_DATA.values() for name in found} - {timezone.UNKNOWN_TIMEZONE}
    assert len(names) > 200
    for name in names:
        ZoneInfo(name)


def test_the_library_is_loaded_on_first_use_only():
    program = (
        "import sys; from processors.phone_numbers import masked, normalised, zones; masked(normalised('+1234567890'));"
        "assert 'phonenumbers' not in sys.modules; zones('+1234567890'); assert 'phonenumbers' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
