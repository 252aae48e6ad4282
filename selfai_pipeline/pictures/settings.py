"""Thresholds of pruning."""

from pydantic import Field

from selfai_pipeline.environment import Settings


class PruneSettings(Settings):
    """When a crawled picture is dropped; the end of a threshold's range switches its rule off."""

    max_pixels: int = Field(
        50_000_000,
        ge=1,
        description="Pixels above which a picture is refused from its header, undecoded; formats that cannot "
        "be decoded at a part of their size, as JPEG can, are refused earlier.",
    )
    min_side: int = Field(96, ge=1, description="Shortest side in pixels; below it: too_small.")
    max_aspect: float = Field(
        2.5, ge=1, description="Longer side over shorter side; above it: extreme_aspect."
    )
    min_brightness: float = Field(25, ge=0, le=255, description="Mean luma; below it: too_dark.")
    max_brightness: float = Field(245, ge=0, le=255, description="Mean luma; above it: too_bright.")
    min_contrast: float = Field(
        8, ge=0, le=127.5, description="Standard deviation of the luma; below it: low_contrast."
    )
    min_entropy: float = Field(
        3, ge=0, le=8, description="Entropy of the luma's histogram in bits; below it: low_information."
    )
    min_blur: float = Field(
        20, ge=0, description="Variance of the Laplacian at 256 pixels a side; below it: blurred."
    )
    min_bits_per_pixel: float = Field(
        0.05, ge=0, description="Stored bits a pixel; below it: heavily_compressed."
    )
    min_saturation: float = Field(
        0, ge=0, le=255, description="Mean saturation; below it: colourless (5 drops grey pictures)."
    )
    max_border: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Share of the picture that even bars at its edges take; above it: letter_boxed.",
    )
    max_screenshot: float = Field(
        1,
        ge=0,
        le=1,
        description="How much it looks drawn by a computer; above it: screenshot (a hint; 0.3 is a start).",
    )
    max_collage: float = Field(
        1,
        ge=0,
        le=1,
        description="How far one straight seam runs through it; above it: collage (a hint; 0.9 is a start).",
    )
    duplicate_radius: int = Field(
        24,
        ge=0,
        le=256,
        description="Differing bits, of 256, of two perceptual hashes up to which one is a near_duplicate.",
    )
    duplicate_correlation: float = Field(
        0.97,
        ge=0,
        le=1.1,
        description="Correlation of two thumbnails, aligned, from which one is a near_duplicate: cropped, "
        "mirrored or captioned; above 1: the hashes alone count.",
    )
    workers: int = Field(0, ge=0, description="Threads that decode and measure; 0: one a core.")
