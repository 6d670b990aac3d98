"""Numbers as text: percentages, and four significant digits."""


def percent(fraction: float | None, decimals: int = 2) -> str:
    """Return a fraction in [0, 1] as e.g. "97.50 %", "-" for None."""
    return "-" if fraction is None else f"{100 * fraction:.{decimals}f} %"


def significant(value: float) -> str:
    """Return four significant digits of a number; from 1,000 on, all digits before the point."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def short(count: int) -> str:
    """Return a count to three digits, such as 25.6 M."""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return str(count)


ABBREVIATIONS = {"iou": "IoU", "mae": "MAE", "mse": "MSE", "psnr": "PSNR"}


def in_words(name: str) -> str:
    """Return the name of a metric in words, as "mean IoU" for "mean_iou"."""
    return " ".join(ABBREVIATIONS.get(word, word) for word in name.split("_"))
