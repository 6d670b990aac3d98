"""Numbers as text: percentages, and four significant digits."""


def percent(fraction: float | None, decimals: int = 2) -> str:
    """Return a fraction in [0, 1] as e.g. "97.50 %", "-" for None."""
    return "-" if fraction is None else f"{100 * fraction:.{decimals}f} %"


def significant(value: float) -> str:
    """Return four significant digits of a number; from 1,000 on, all digits before the point."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
