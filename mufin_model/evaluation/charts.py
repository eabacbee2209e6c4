"""Small charts as inline SVG: they follow the page's light or dark colours and are the same bytes each time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup, escape

WIDTH, HEIGHT = 420, 220
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 12, 34
TICKS = 4


def lines(
    xs: Sequence[float],
    series: Mapping[str, Sequence[float]],
    x_label: str,
    per_cent: bool = False,
    mark: float | None = None,
) -> Markup:
    """A line a series; values that are no numbers (NaN) break nothing and are left out.

    Args:
        xs: [n] places.
        series: [n] values by name.
        x_label: under the axis.
        per_cent: ticks as per cent of 1.
        mark: a place with an upright line.
    """
    real = [value for values in series.values() for value in values if math.isfinite(value)]
    if not real or not xs:
        return Markup("")
    low, high = _range(min(real), max(real))
    first, last = min(xs), max(xs)
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    parts = [_grid(low, high, per_cent)]
    if mark is not None and first <= mark <= last:
        place = LEFT + width * ((mark - first) / (last - first) if last > first else 0.5)
        parts.append(
            f'<line class="mark" x1="{place:.1f}" x2="{place:.1f}" y1="{TOP}" y2="{TOP + height}">'
            f"<title>{escape(x_label)} {mark:g}</title></line>"
        )
    for number, (name, values) in enumerate(series.items()):
        points = [
            (
                LEFT + width * ((x - first) / (last - first) if last > first else 0.5),
                TOP + height * (1 - (y - low) / (high - low)),
            )
            for x, y in zip(xs, values, strict=True)
            if math.isfinite(y)
        ]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline class="line s{number}" points="{path}"/>')
        parts.extend(
            f'<circle class="dot s{number}" cx="{x:.1f}" cy="{y:.1f}" r="2.6"><title>{escape(name)}</title></circle>'
            for x, y in points
        )
    for x in sorted({first, (first + last) // 2, last}):
        place = LEFT + width * ((x - first) / (last - first) if last > first else 0.5)
        parts.append(f'<text class="tick" x="{place:.1f}" y="{HEIGHT - 18}" text-anchor="middle">{x:g}</text>')
    parts.append(
        f'<text class="tick" x="{LEFT + width / 2:.1f}" y="{HEIGHT - 4}" text-anchor="middle">{escape(x_label)}</text>'
    )
    return _svg(parts)


def bars(groups: Sequence[str], series: Mapping[str, Sequence[float]]) -> Markup:
    """Bars side by side, fractions shown as per cent; [groups] values by series."""
    top = max((value for values in series.values() for value in values), default=0.0)
    if not groups or not series:
        return Markup("")
    _, high = _range(0.0, top or 1.0)
    if top <= 1.0:
        high = min(high, 1.0)  # no share passes 100 %
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    slot = width / len(groups)
    bar = 0.78 * slot / len(series)
    parts = [_grid(0.0, high, True)]
    for place, group in enumerate(groups):
        start = LEFT + slot * place + 0.11 * slot
        for number, (name, values) in enumerate(series.items()):
            tall = height * values[place] / high
            x, y = start + bar * number, TOP + height - tall
            parts.append(
                f'<rect class="bar s{number}" x="{x:.1f}" y="{y:.1f}" width="{bar - 1.5:.1f}" height="{tall:.1f}">'
                f"<title>{escape(name)}: {100 * values[place]:.1f} %</title></rect>"
            )
        parts.append(
            f'<text class="tick" x="{LEFT + slot * (place + 0.5):.1f}" y="{HEIGHT - 18}" text-anchor="middle">'
            f"{escape(group)}</text>"
        )
    return _svg(parts)


def _grid(low: float, high: float, per_cent: bool) -> str:
    height, parts = HEIGHT - TOP - BOTTOM, []
    for tick in range(TICKS + 1):
        value = low + (high - low) * tick / TICKS
        y = TOP + height * (1 - tick / TICKS)
        text = f"{100 * value:.3g} %" if per_cent else f"{value:.3g}"
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{text}</text>')
    return "".join(parts)


def _range(low: float, high: float) -> tuple[float, float]:
    """Round limits around the values, so that the ticks are short numbers."""
    span = (high - low) or abs(high) or 1.0
    step = 10 ** math.floor(math.log10(span / TICKS))
    step = next(step * times for times in (1, 2, 2.5, 5, 10, 20) if step * times * (TICKS - 1) >= span)
    start = math.floor(low / step) * step
    return (start, start + TICKS * step) if start + TICKS * step >= high else (start, start + 2 * TICKS * step)


def _svg(parts: Sequence[str]) -> Markup:
    # Every piece above is a number or went through `escape`.
    return Markup(f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">' + "".join(parts) + "</svg>")
