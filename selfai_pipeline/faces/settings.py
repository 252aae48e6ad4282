"""Knobs of finding and aligning faces."""

from enum import StrEnum

from pydantic import Field

from selfai_pipeline.environment import Settings


class EngineName(StrEnum):
    """`auto` takes onnxruntime on a processor, where it is the fastest, and torch on anything else."""

    AUTO = "auto"
    ONNXRUNTIME = "onnxruntime"
    TORCH = "torch"


class Backbone(StrEnum):
    """The trunk of RetinaFace. The weights of the first are published and installed, of the second own."""

    MOBILENET = "mobilenet0.25"
    RESNET50 = "resnet50"


class NumberFormat(StrEnum):
    """bfloat16 is torch's alone, and moves landmarks by some hundredths of the distance of the eyes."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class DetectorSettings(Settings):
    """Which network finds faces, and what runs it; the device is that of `compute`."""

    engine: EngineName = Field(EngineName.AUTO, description="What runs it: auto, onnxruntime or torch.")
    backbone: Backbone = Field(Backbone.MOBILENET, description="mobilenet0.25 or resnet50.")
    precision: NumberFormat = Field(
        NumberFormat.FLOAT32, description="Number format of torch: float32 or bfloat16."
    )
    weights: str = Field(
        "",
        description="File of other weights: an ONNX file for mobilenet0.25, a state dict (.safetensors or "
        ".pth) for resnet50, which has none of its own. Empty: the published ones.",
    )


class FaceRule(StrEnum):
    """Which of the faces in a picture get a row: one of them, or each."""

    LARGEST = "largest"
    MOST_CENTRAL = "most_central"
    ALL = "all"


class FaceSettings(Settings):
    """How faces are found, and which crops are refused."""

    max_pixels: int = Field(
        50_000_000,
        ge=1,
        description="Pixels above which a picture is refused from its header, undecoded; formats that cannot "
        "be decoded at a part of their size, as JPEG can, are refused earlier.",
    )
    detection_side: int = Field(
        256, ge=64, le=2048, description="Longest side in pixels at which faces are looked for."
    )
    second_side: int = Field(
        960,
        ge=0,
        le=4096,
        description="Longest side of a second look at larger pictures in which none was found; 0: none.",
    )
    batch_size: int = Field(
        0,
        ge=0,
        le=512,
        description="Pictures that are opened and looked at together; 0: as suits the device.",
    )
    workers: int = Field(
        0,
        ge=0,
        le=1024,
        description="Processes that look for faces on the processor; 0: one a core, where there are enough "
        "pictures to pay for their start.",
    )
    min_detection_score: float = Field(
        0.8, gt=0, lt=1, description="Detector's confidence from which a face counts."
    )
    turned_looks: bool = Field(
        True,
        description="Look at a picture without an upright face upside down and on either side too, and at a "
        "face in doubt from all four sides.",
    )
    refining_passes: int = Field(
        1,
        ge=0,
        le=5,
        description="How often landmarks are looked for again in the upright cut-out of their face; 0: they "
        "stay as found, off by some pixels where a face leans.",
    )
    crop_size: int = Field(224, ge=32, le=1024, description="Side of the aligned crop in pixels.")
    eye_distance: float = Field(
        0.25,
        ge=0.1,
        le=0.4,
        description="Distance of the eyes in the crop over its side; smaller: more hair and chin.",
    )
    eye_height: float = Field(
        0.46, ge=0.2, le=0.7, description="How far down the crop the eyes lie, over its side."
    )
    min_eye_distance: float = Field(
        24, ge=0, description="Pixels between the eyes in the picture; below it: too_small_face."
    )
    min_sharpness: float = Field(
        0,
        ge=0,
        description="Variance of the Laplacian over the face in the crop; below it: blurred_face (0: none).",
    )
    max_border: float = Field(
        0.65, ge=0, le=1, description="Share of the crop outside the picture; above it: too_much_border."
    )
    max_residual: float = Field(
        0.08,
        gt=0,
        description="RMS of the landmarks to the template over the crop's side; above it: bad_alignment.",
    )
    which_face: FaceRule = Field(
        FaceRule.LARGEST,
        description="Which faces of a picture get a row: the largest, the most_central, or all. Of a picture "
        "with several crops nobody knows which one a rating means: labels leave it out.",
    )
    most_faces: int = Field(
        0, ge=0, description="More faces than this in a picture: several_faces; 0: any number."
    )
    max_yaw: float = Field(
        60, ge=0, le=180, description="Degrees that a face is turned to a side; above it: extreme_pose."
    )
    max_pitch: float = Field(
        60, ge=0, le=180, description="Degrees that a face looks up or down; above it: extreme_pose."
    )
    max_roll: float = Field(
        180,
        ge=0,
        le=180,
        description="Degrees that a face leans in the picture, which alignment undoes; above it: "
        "extreme_pose.",
    )
