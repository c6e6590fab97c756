"""The preprocess modes of the official SPADE code, by name; `augment` does what they say. Imports nothing heavy."""

from typing import Literal

Mode = Literal[
    "resize_and_crop",
    "crop",
    "scale_width",
    "scale_width_and_crop",
    "scale_shortside",
    "scale_shortside_and_crop",
    "fixed",
    "none",
]
