"""Thresholds of pruning."""

from pydantic import Field

from selfai_pipeline.environment import Settings


class PruneSettings(Settings):
    """When a crawled picture is dropped; the end of a threshold's range switches its rule off."""

    max_pixels: int = Field(
        50_000_000, ge=1, description="Pixels above which a picture is refused from its header, undecoded."
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
    duplicate_radius: int = Field(
        24,
        ge=0,
        le=256,
        description="Differing bits, of 256, of two perceptual hashes up to which one is a near_duplicate.",
    )
    workers: int = Field(0, ge=0, description="Threads that decode and measure; 0: one a core.")
