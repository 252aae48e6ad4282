"""Figures of other people, to stand beside ours: measured on other faces, with other annotators."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """A published Pearson correlation on held-out faces to `digits` digits, and what it was measured on."""

    method: str
    data: str
    pearson: float
    source: str
    caveat: str = ""
    digits: int = 3


ORIGINAL_DATA = "the original work's own faces"
ORIGINAL = "the original work, 2016 to 2017"
SCUT = "SCUT-FBP5500, 60/40 split"
LIANG = "Liang et al. 2018, SCUT-FBP5500 (arXiv 1801.06345)"
CHOSEN_ON_TEST = "the epoch was chosen on the test faces, which flatters it"

PUBLISHED = (
    Published("Tiny Darknet from scratch", ORIGINAL_DATA, 0.68, ORIGINAL, digits=2),
    Published("The same, from ImageNet", ORIGINAL_DATA, 0.73, ORIGINAL, digits=2),
    Published("The same, Siamese pre-training", ORIGINAL_DATA, 0.82, ORIGINAL, digits=2),
    Published("The same, Siamese pre-training and Net2Net", ORIGINAL_DATA, 0.84, ORIGINAL, digits=2),
    Published("AlexNet, from ImageNet", SCUT, 0.8298, LIANG),
    Published("ResNet-18, from ImageNet", SCUT, 0.8513, LIANG),
    Published("ResNeXt-50, from ImageNet", SCUT, 0.8777, LIANG),
    Published("SE-ResNeXt-50, smooth L1", SCUT, 0.9050, "Xu and Xiang 2020, ComboLoss", CHOSEN_ON_TEST),
    Published("ComboLoss", SCUT, 0.9117, "Xu and Xiang 2020, ComboLoss", CHOSEN_ON_TEST),
)
"""In the order of the page. None says how ours does: the data differ, and with it the noise ceiling."""
