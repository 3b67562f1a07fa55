"""Amounts of money: a number with a currency's sign or its code (ISO 4217) before or behind it.

Numbers are read as 1,234.56 and as 1.234,56: a lone separator before three digits is one of thousands, unless the
currency has three decimals.
"""

import re
from collections.abc import Iterator
from decimal import Decimal

from processors.entity_results import Entity
from processors.summaries import UNSPACED

IN_USE = (
    "AED AFN AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF "
    "CLP CNY COP CRC CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG "
    "HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL "
    "MGA MKD MMK MNT MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON "
    "RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TRY TTD TWD TZS UAH "
    "UGX USD UYU UZS VES VND VUV WST XAF XCD XOF XPF YER ZAR ZMW ZWG"
)
CODES = frozenset(IN_USE.split())
"""The codes in use but ALL, CUP, MOP and TOP, which before a number are words in capitals more often."""

SIGNS = {
    "€": "EUR",
    "£": "GBP",
    "$": "USD",
    "¥": "JPY",
    "₹": "INR",
    "₽": "RUB",
    "₺": "TRY",
    "₩": "KRW",
    "₴": "UAH",
    "₪": "ILS",
    "₫": "VND",
    "₱": "PHP",
    "₦": "NGN",
    "฿": "THB",
    "US$": "USD",
    "C$": "CAD",
    "CA$": "CAD",
    "A$": "AUD",
    "AU$": "AUD",
    "NZ$": "NZD",
    "HK$": "HKD",
    "S$": "SGD",
    "R$": "BRL",
    "zł": "PLN",
    "Kč": "CZK",
}
SHARED_SIGNS = frozenset({"$", "¥"})
THREE_DECIMALS = frozenset({"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"})

SCALES = {
    3: "k thousand",
    6: "m mio million millions millionen millones",
    9: "bn billion mrd milliarde milliarden milliard milliards",
    12: "billionen",
}
POWERS = {word: power for power, words in SCALES.items() for word in words.split()}
"""`billion` is the English one: in French and Spanish, which mean a thousand times as much, it is hardly written."""

SIGN = "|".join(re.escape(sign) for sign in sorted(SIGNS, key=len, reverse=True))
SCALE = "|".join(sorted(POWERS, key=len, reverse=True))
SPACE, MINUS = "[ \u00a0\u202f]", "-\u2212"
NO_WORD_BEFORE = rf"(?<![^\W{UNSPACED}])"
AMOUNT = re.compile(
    rf"(?P<minus>(?<!\w)[{MINUS}])?"
    rf"(?:{NO_WORD_BEFORE}(?P<before>{SIGN}|[A-Z]{{3}}){SPACE}?(?P<minus_behind>[{MINUS}])?|(?<![\w.,]))"
    r"(?P<number>"
    r"(?P<grouped>[1-9][0-9]{0,2}(?P<separator>[.,'\u2019 \u00a0\u202f])[0-9]{3}(?:(?P=separator)[0-9]{3}){0,3})"
    r"(?:[.,](?P<decimals>[0-9]{1,2}))?(?![0-9]|[.,][0-9])"
    r"|(?P<plain>[0-9]{1,15}(?:[.,][0-9]{1,3})?)(?![0-9]|[.,][0-9])"
    r")(?:[.,][-\u2013\u2014])?"
    rf"(?:{SPACE}?(?P<scale>(?ai:{SCALE}))\b\.?)?(?P<end>)"
    rf"(?:{SPACE}?(?P<behind>{SIGN}|[A-Z]{{3}})(?:(?<!\w)|(?!\w)))?"
)
"""Every repetition is bounded, so that no text takes long. `5,-` is how German writes five without cents."""


def find_amounts(text: str) -> Iterator[Entity]:
    """Yield the amounts of money in a text, from its beginning to its end."""
    at = 0
    while match := AMOUNT.search(text, at):
        mark, start, end = _currency_mark(match)
        at = max(end, match.end("end"))
        if mark:
            yield _amount(match, mark, text[start:end], (start, end))


def _currency_mark(match: re.Match[str]) -> tuple[str | None, int, int]:
    """Return the sign or code of a number, and where the amount begins and ends with it."""
    before, behind = match["before"], match["behind"]
    own_start = match.start("before") if match["minus"] is None else match.start("minus")
    known_before = before in SIGNS or before in CODES
    if behind in CODES and (before in SIGNS or not known_before):
        return behind, own_start if before in SIGNS else _bare_start(match), match.end("behind")
    if known_before:
        return before, own_start, match.end("end")
    if behind in SIGNS:
        return behind, _bare_start(match), match.end("behind")
    return None, match.start(), match.end("end")


def _bare_start(match: re.Match[str]) -> int:
    """Return where a number begins whose currency stands behind it."""
    if match["minus_behind"] is not None:
        return match.start("minus_behind")
    return match.start("minus") if match["minus"] and match["before"] is None else match.start("number")


def _amount(match: re.Match[str], mark: str, text: str, place: tuple[int, int]) -> Entity:
    currency = SIGNS.get(mark, mark)
    values = [f"{_scaled(number, match, text):f}" for number in _readings(match, currency)]
    return Entity(
        kind="amount",
        text=text,
        value=values[0] if len(values) == 1 else None,
        range=place,
        currency=currency,
        assumed=currency if mark in SHARED_SIGNS else None,
        possible=values if len(values) > 1 else [],
    )


def _readings(match: re.Match[str], currency: str) -> list[Decimal]:
    """Return what a number may be: 1.234 is a thousand and more, of a currency with three decimals perhaps not."""
    if match["plain"]:
        return [Decimal(match["plain"].replace(",", "."))]
    grouped, separator, decimals = match["grouped"], match["separator"], match["decimals"]
    whole = grouped.replace(separator, "")
    if decimals:
        return [Decimal(f"{whole}.{decimals}")]
    if currency in THREE_DECIMALS and separator in ".," and grouped.count(separator) == 1:
        return [Decimal(grouped.replace(separator, ".")), Decimal(whole)]
    return [Decimal(whole)]


def _scaled(number: Decimal, match: re.Match[str], text: str) -> Decimal:
    """Return a number as many times as the word behind it says, negative where there is a minus."""
    if match["scale"]:
        number = (number * Decimal(10) ** POWERS[match["scale"].lower()]).normalize()
    return -number if match["minus_behind"] or text[0] in MINUS else number
