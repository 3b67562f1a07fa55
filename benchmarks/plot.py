"""A bar chart as SVG, from nothing but text."""

from collections.abc import Sequence
from html import escape

WIDTH, LABEL, FIGURE, BAR, GAP, TITLE = 860, 270, 190, 16, 6, 34
OURS, OTHERS, SPREAD, TEXT = "#1b6ca8", "#9aa5b1", "#333333", "#222222"
WHOLE = 100  # from here on a figure is shown without a fraction

Bar = tuple[str, float, float, float]
"""Name, median, least, greatest."""


def charts(tables: Sequence[tuple[str, str, Sequence[Bar]]]) -> str:
    """Return one picture with a chart for each table of title, unit and bars; a line shows least to greatest."""
    parts: list[str] = []
    top = 0
    for title, unit, bars in tables:
        parts.append(_text(0, top + 22, f"{title} ({unit})", "bold"))
        top += TITLE
        longest = max((greatest for *_, greatest in bars), default=1.0)
        scale = (WIDTH - LABEL - FIGURE) / longest
        for bar in bars:
            parts.append(_bar(bar, top, scale))
            top += BAR + GAP
        top += GAP
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" font-family="sans-serif" font-size="12">'
    )
    ground = f'<rect width="{WIDTH}" height="{top}" fill="#ffffff"/>'
    return "\n".join([head, ground, *parts, "</svg>", ""])


def digits(figure: float) -> str:
    """Return a figure with three digits that count, and never fewer than its whole ones."""
    return f"{figure:,.0f}" if abs(figure) >= WHOLE or figure == int(figure) else f"{figure:.3g}"


def _bar(bar: Bar, top: int, scale: float) -> str:
    name, median, least, greatest = bar
    color = OURS if name.startswith("ours") else OTHERS
    middle = top + BAR / 2
    return "".join(
        [
            _text(0, top + BAR - 4, name),
            f'<rect x="{LABEL}" y="{top}" width="{median * scale:.1f}" height="{BAR}" fill="{color}"/>',
            f'<path d="M{LABEL + least * scale:.1f} {middle}H{LABEL + greatest * scale:.1f}" stroke="{SPREAD}"/>',
            _text(
                round(LABEL + greatest * scale) + 6,
                top + BAR - 4,
                digits(median),
            ),
        ]
    )


def _text(x: int, y: int, words: str, weight: str = "normal") -> str:
    return f'<text x="{x}" y="{y}" fill="{TEXT}" font-weight="{weight}">{escape(words)}</text>'
