"""The colours of both themes can be told apart (WCAG 2.2, 1.4.3 and 1.4.11)."""

import re

import pytest

from dashboard.rendering import HERE

STYLE = (HERE / "static" / "app.css").read_text()
COLOURS = {
    name: (light, dark)
    for name, light, dark in re.findall(r"--([a-z-]+): light-dark\(#([0-9a-f]{6}), #([0-9a-f]{6})\)", STYLE)
}
TEXTS = ("ink", "quiet", "accent", "good", "bad", "warn")


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_words_and_edges_stand_out_from_what_is_behind_them(theme):
    of = {name: pair[theme] for name, pair in COLOURS.items()}
    for ground in ("ground", "raised"):
        for text in TEXTS:
            assert contrast(of[text], of[ground]) >= 4.5, (text, ground)
        assert contrast(of["edge"], of[ground]) >= 3, ground
    assert contrast(of["on-accent"], of["accent"]) >= 4.5
    assert contrast(of["on-bad"], of["bad"]) >= 4.5


def test_no_colour_is_written_beside_the_two_themes():
    rules = STYLE.partition("}")[2]
    assert not re.findall(r"#[0-9a-f]{3,8}\b(?=[;\s,)])", rules)
    assert set(re.findall(r"var\(--([a-z-]+)\)", rules)) - {"gap"} <= set(COLOURS)
    assert "@import" not in STYLE
    assert "url(" not in STYLE
