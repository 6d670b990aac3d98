"""Audio preprocessing of a stream: the frames of new samples and of the last ones before them.

The frames are those of the whole recording: frame t of a front-end begins at sample t * hop_length, less half a frame
in a style that centres them. A stream begins with `overlap` samples of silence, so that its first frame is complete
with the first hop of samples. Where that is more than the whole front-end puts before a recording, its frames are those
of a recording with `shift` samples of silence before it.
"""

from __future__ import annotations

import dataclasses

from kzoo.data.audio.frontends import FrontEnd
from kzoo.data.audio.preprocess import AudioPreprocess


class Uncentred(FrontEnd):
    """A front-end whose frame t begins at sample t * hop_length, whatever its style."""

    @property
    def style(self):
        """The parameters that the library fixes, but for the place of the frames."""
        return super().style._replace(centred=False)


def check_incremental(preprocess: AudioPreprocess) -> None:
    """Raise a ValueError for features that depend on the whole recording."""
    front_end = preprocess.front_end
    if preprocess.normalise == "example":
        raise ValueError("normalise='example' needs the whole recording; train with normalise='set' for a stream")
    if preprocess.fill_silence:
        raise ValueError("fill_silence=True needs the whole recording; train with fill_silence=False for a stream")
    if preprocess.feature == "mfcc" and front_end.style.top_db:
        raise ValueError(
            f"MFCCs of feature_style={front_end.feature_style!r} are clipped relative to the loudest frame of the "
            "recording; train with feature_style='kaldi' or 'speech_commands' for a stream, or on feature='log_mel'"
        )


def overlap(preprocess: AudioPreprocess) -> int:
    """Return the number of samples before the new ones that the frames of a step see."""
    front_end = preprocess.front_end
    return 0 if front_end is None else max(front_end.before, front_end.win_length - front_end.hop_length)


def shift(preprocess: AudioPreprocess) -> int:
    """Return the samples of silence before a recording with which the whole front-end gives the frames of a stream."""
    front_end = preprocess.front_end
    return 0 if front_end is None else overlap(preprocess) - front_end.before


def incremental(preprocess: AudioPreprocess, frames: int) -> AudioPreprocess:
    """Return the preprocessing of the samples of a step, the `overlap` included, to its frames."""
    if preprocess.front_end is None:
        return dataclasses.replace(preprocess, samples=frames)
    samples = overlap(preprocess) + frames * preprocess.front_end.hop_length
    front_end = Uncentred(**dataclasses.asdict(preprocess.front_end))
    return dataclasses.replace(preprocess, samples=samples, front_end=front_end)
