"""Hand-crafted filter banks as convolution kernels: Sobel, Laplacian, Gabor, difference of Gaussians, sinc, detectors.

Pure numpy. Kernels for images have shape (height, width, 1, n), for signals (length, 1, n), as of a Keras convolution
with one input channel. Keras computes a cross-correlation: a kernel is the pattern with the largest response."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kzoo.core.lazy import np
from kzoo.core.registry import lookup


def sobel() -> np.ndarray:
    """Return Sobel's vertical and horizontal derivatives, (3, 3, 1, 2); a slope of 1 per pixel gives 2.

    Sobel, Feldman, 1968, as described by Duda, Hart, 1973, Pattern Classification and Scene Analysis, p. 271. The
    factor 1/4 is that of `skimage.filters.sobel_h`, whose sign is opposite.
    """
    down = np.outer([-1, 0, 1], [1, 2, 1]) / 4
    return np.stack([down, down.T], axis=-1)[:, :, None]


def laplacian() -> np.ndarray:
    """Return the Laplacian: second differences along both axes, (3, 3, 1, 1), as in `scipy.ndimage.laplace`."""
    return np.array([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])[:, :, None, None]


def gabor(size: int = 7, wavelengths: Sequence[float] = (3.0, 6.0), angles: int = 4) -> np.ndarray:
    """Return Gabor filters: sinusoids in a Gaussian window, (size, size, 1, len(wavelengths) x angles x 2).

    For each wavelength and angle there are two, cosine (lines) and sine (edges). The window is that of
    `skimage.filters.gabor_kernel`, of one octave's bandwidth, truncated at `size`; the mean is subtracted, so that a
    constant image gives 0. Daugman, 1985, https://doi.org/10.1364/JOSAA.2.001160.

    Args:
        size: kernel size in pixels, odd.
        wavelengths: wavelengths of the sinusoids, in pixels.
        angles: number of orientations, equally spaced over 180 degrees from the horizontal.

    Raises:
        ValueError: for an even size, a wavelength below 2 pixels, or no angle.
    """
    rows, columns = grid(size)
    if angles < 1 or min(wavelengths, default=0) < 2:
        raise ValueError(
            f"Gabor filters need an angle and wavelengths of 2 pixels or more, got {angles} and {tuple(wavelengths)}"
        )
    kernels = []
    for wavelength in wavelengths:
        for angle in np.pi * np.arange(angles) / angles:
            phase = columns * np.cos(angle) + rows * np.sin(angle)
            window = gaussian(rows**2 + columns**2, octave_sigma(wavelength))
            kernels += [window * wave(2 * np.pi * phase / wavelength) for wave in (np.cos, np.sin)]
    kernels = np.stack(kernels, axis=-1)[:, :, None]
    return kernels - kernels.mean(axis=(0, 1))


def octave_sigma(wavelength: float) -> float:
    """Return the standard deviation of the Gaussian window that gives a bandwidth of one octave at half response."""
    return wavelength * np.sqrt(np.log(2) / 2) / np.pi * 3  # (2^b + 1) / (2^b - 1) for b = 1


def difference_of_gaussians(size: int = 7, sigmas: Sequence[float] = (0.7, 1.4), ratio: float = 1.6) -> np.ndarray:
    """Return differences of Gaussians (blob detectors), (size, size, 1, len(sigmas)).

    Each is a Gaussian of standard deviation sigma minus one that is `ratio` times wider, both normalised to a sum of 1;
    1.6 is the ratio of Marr, Hildreth, 1980, https://doi.org/10.1098/rspb.1980.0020.

    Raises:
        ValueError: for an even size, a sigma that is not positive, or a ratio that is not above 1.
    """
    rows, columns = grid(size)
    if min(sigmas, default=0) <= 0 or ratio <= 1:
        raise ValueError(f"every sigma must be positive and the ratio above 1, got {tuple(sigmas)} and {ratio}")

    def blob(sigma):
        values = gaussian(rows**2 + columns**2, sigma)
        return values / values.sum()

    return np.stack([blob(s) - blob(ratio * s) for s in sigmas], axis=-1)[:, :, None]


def gaussian(squares: np.ndarray, sigma: float) -> np.ndarray:
    """Return the density of a two-dimensional Gaussian at points with these squared distances from its mean."""
    return np.exp(-squares / (2 * sigma**2)) / (2 * np.pi * sigma**2)


def grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the row and column coordinates of a square kernel, relative to its centre.

    Raises:
        ValueError: for a size that is not odd.
    """
    if not isinstance(size, int) or size < 1 or size % 2 == 0:
        raise ValueError(f"the size of a kernel must be an odd number of pixels, got {size!r}")
    return np.mgrid[: 1.0 * size, : 1.0 * size] - size // 2


def sinc(
    filters: int = 40, taps: int = 251, sample_rate: int = 16000, low: float = 30.0, high: float | None = None
) -> np.ndarray:
    """Return adjacent band-pass filters whose cut-off frequencies are equally spaced in mel, (taps, 1, filters).

    Each is the difference of two ideal low-pass filters in a Hamming window, with a passband gain of 1:
    Ravanelli, Bengio, 2018, Speaker Recognition from Raw Waveform with SincNet, https://arxiv.org/abs/1808.00158,
    where the gain is the inverse of the bandwidth.

    Args:
        filters: number of bands.
        taps: kernel size in samples, odd.
        sample_rate: samples per second.
        low: lower cut-off frequency of the first band, in hertz.
        high: upper cut-off frequency of the last band, in hertz; the Nyquist frequency by default.

    Raises:
        ValueError: for an even number of taps, or bands outside the range from 0 to the Nyquist frequency.
    """
    if taps < 3 or taps % 2 == 0 or filters < 1:
        raise ValueError(f"sinc filters need an odd number of taps and one band at least, got {taps} and {filters}")
    edges = mel_edges(filters, low, sample_rate / 2 if high is None else high, sample_rate) / sample_rate
    time = np.arange(taps)[:, None] - taps // 2
    passes = 2 * edges * np.sinc(2 * edges * time)  # a low-pass for each cut-off frequency, in cycles per sample
    return (np.diff(passes, axis=1) * np.hamming(taps)[:, None])[:, None]


def detectors(sizes: Sequence[int]) -> np.ndarray:
    """Return filters for rises and falls of each size, and for peaks of those of 4 or more, (taps, 1, n).

    Ismail-Fawaz et al., 2022, Deep Learning for Time Series Classification Using New Hand-Crafted Convolution Filters,
    https://doi.org/10.1109/BigData55660.2022.10020496. All lie where "same" padding has their centres.

    Raises:
        ValueError: if there is no size, or one that is no power of 2.
    """
    if not sizes or any(size < 2 or size & (size - 1) for size in sizes):
        raise ValueError(f"detectors need sizes that are powers of 2, got {tuple(sizes)}")
    rises = [np.resize([-1.0, 1.0], size) for size in sizes]
    kernels = [*rises, *(-rise for rise in rises), *(peak(size // 4) for size in sizes if size >= 4)]
    taps = max(map(len, kernels))
    starts = [(taps - 1) // 2 - (len(kernel) - 1) // 2 for kernel in kernels]
    padded = [
        np.pad(kernel, (start, taps - start - len(kernel))) for kernel, start in zip(kernels, starts, strict=True)
    ]
    return np.stack(padded, axis=-1)[:, None]


def peak(quarter: int) -> np.ndarray:
    """Return a squared ramp up and down, of twice the height between two that are negative, (6 * quarter,)."""
    ramp = np.linspace(0, 1, quarter + 1)[1:] ** 2
    return np.concatenate([factor * side for factor in (-1, 2, -1) for side in (ramp, ramp[::-1])])


def mel_edges(filters: int, low: float, high: float, sample_rate: int) -> np.ndarray:
    """Return the cut-off frequencies of adjacent bands, in hertz, (filters + 1,).

    Raises:
        ValueError: if they do not lie between 0 and the Nyquist frequency.
    """
    if not 0 <= low < high <= sample_rate / 2:
        raise ValueError(
            f"bands must lie between 0 and half the sample rate, {sample_rate / 2:g} Hz; got {low:g} to {high:g}"
        )
    return mel_to_hertz(np.linspace(hertz_to_mel(low), hertz_to_mel(high), filters + 1))


def hertz_to_mel(hertz, scale: str = "htk") -> np.ndarray:
    """Convert frequencies to mel; "slaney" (Auditory Toolbox, 1998) is linear up to 1 kHz, "htk" is not."""
    hertz = np.asarray(hertz, "float64")
    if scale == "htk":
        return 1127 * np.log1p(hertz / 700)
    above = 15 + 27 * np.log(np.maximum(hertz, 1) / 1000) / np.log(6.4)
    return np.where(hertz < 1000, hertz * 3 / 200, above)


def mel_to_hertz(mel, scale: str = "htk") -> np.ndarray:
    """Convert mel to frequencies in hertz: the inverse of `hertz_to_mel`."""
    mel = np.asarray(mel, "float64")
    if scale == "htk":
        return 700 * np.expm1(mel / 1127)
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))


BANKS: dict[str, Callable[[], np.ndarray]] = {
    "sobel": sobel,
    "laplacian": laplacian,
    "gabor": gabor,
    "difference_of_gaussians": difference_of_gaussians,
}


def bank(names: Sequence[str]) -> np.ndarray:
    """Concatenate filter banks for images; smaller kernels are zero-padded, and each has an L2 norm of 1.

    Args:
        names: names of filter banks, keys of `BANKS`.

    Raises:
        ValueError: for no name, or an unknown one.
    """
    if not names:
        raise ValueError(f"a filter bank needs at least one name; choose from {', '.join(BANKS)}")
    kernels = [lookup("filter bank", name, BANKS)() for name in names]
    size = max(len(kernel) for kernel in kernels)
    joined = np.concatenate([widened(kernel, size) for kernel in kernels], axis=-1)
    return joined / np.sqrt((joined**2).sum(axis=(0, 1, 2)))


def widened(kernel: np.ndarray, size: int) -> np.ndarray:
    """Zero-pad a square kernel to `size`."""
    width = (size - len(kernel)) // 2
    return np.pad(kernel, ((width, width), (width, width), (0, 0), (0, 0)))
