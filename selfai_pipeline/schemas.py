"""The columns of every table, their types and meanings: what readers outside the project can rely on."""

import pyarrow as pa

SCORE_MINIMUM = 0.0
SCORE_MAXIMUM = 9.0
CLASSES = 10


def _column(name: str, kind: pa.DataType, meaning: str, *, nullable: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=nullable, metadata={"meaning": meaning})


TEXT = pa.string()
REAL = pa.float64()
WHOLE_NUMBER = pa.int64()
MOMENT = pa.timestamp("us", tz="UTC")

RAW_CRAWL = pa.schema(
    [
        _column("image_id", TEXT, "SHA-256 of the stored bytes; null where there are none", nullable=True),
        _column("url", TEXT, "address the picture was asked from, or `file:` and the path inside the folder"),
        _column("source", TEXT, "name of the source in sources.yaml"),
        _column("fetched_at", MOMENT, "when the final answer came"),
        _column("status", TEXT, "stored, unchanged, refused, failed or not_crawled"),
        _column("reason", TEXT, "why it was not stored", nullable=True),
        _column(
            "unchanged_since",
            TEXT,
            "of an unchanged picture the day (partition) that stored it and goes on with it",
            nullable=True,
        ),
        _column("licence", TEXT, "licence that the source declares", nullable=True),
        _column("format", TEXT, "jpeg, png, gif, webp or bmp, read from the bytes", nullable=True),
        _column("bytes", WHOLE_NUMBER, "size of the stored file", nullable=True),
        _column("width", WHOLE_NUMBER, "pixels, before the orientation is applied", nullable=True),
        _column("height", WHOLE_NUMBER, "pixels, before the orientation is applied", nullable=True),
        _column("orientation", WHOLE_NUMBER, "EXIF orientation 1..8, applied when decoding", nullable=True),
        _column("fetched_sha256", TEXT, "SHA-256 of the bytes as they came, with metadata", nullable=True),
        _column("attributes", TEXT, "further columns of the source about this picture, a JSON object"),
    ]
)

PRUNED_SET = pa.schema(
    [
        _column("image_id", TEXT, "SHA-256 of the stored bytes"),
        _column("url", TEXT, "address, as in raw_crawl"),
        _column("source", TEXT, "name of the source"),
        _column("kept", pa.bool_(), "whether the picture goes on"),
        _column("reason", TEXT, "why it was dropped", nullable=True),
        _column("duplicate_of", TEXT, "image_id that is kept in its place", nullable=True),
        _column("orientation", WHOLE_NUMBER, "EXIF orientation 1..8"),
        _column("width", WHOLE_NUMBER, "pixels, upright; null where it cannot be decoded", nullable=True),
        _column("height", WHOLE_NUMBER, "pixels, upright", nullable=True),
        _column("brightness", REAL, "mean of the luma, 0..255", nullable=True),
        _column("contrast", REAL, "standard deviation of the luma, 0..127.5", nullable=True),
        _column(
            "blur",
            REAL,
            "variance of the luma's Laplacian at 256 pixels; low: blurred",
            nullable=True,
        ),
        _column("entropy", REAL, "Shannon entropy of the luma histogram, bits 0..8", nullable=True),
        _column("saturation", REAL, "mean saturation (HSV), 0..255", nullable=True),
        _column("border", REAL, "share that even bars at the edges take, 0..1", nullable=True),
        _column("screenshot", REAL, "how much it looks drawn by a computer, 0..1", nullable=True),
        _column("collage", REAL, "how far one straight seam runs through it, 0..1", nullable=True),
        _column("aspect", REAL, "longer side over shorter side, 1 or more", nullable=True),
        _column("bits_per_pixel", REAL, "stored bits over pixels; low: heavily compressed", nullable=True),
        _column("perceptual_hash", pa.binary(32), "256-bit DCT hash (pHash) of the picture", nullable=True),
        _column("thumbnail", pa.binary(4096), "luma at 64 by 64 pixels, row by row", nullable=True),
    ]
)

ALIGNED_FACES = pa.schema(
    [
        _column("image_id", TEXT, "SHA-256 of the stored picture"),
        _column(
            "face",
            WHOLE_NUMBER,
            "number of the face in its picture from 0, the largest; -1 where there is none",
        ),
        _column("source", TEXT, "name of the source"),
        _column("url", TEXT, "address, as in raw_crawl"),
        _column("reason", TEXT, "why there is no crop", nullable=True),
        _column("faces_found", WHOLE_NUMBER, "faces that the detector found in the picture"),
        # Lists of fixed size cannot be null: Arrow writes such a column to Parquet, then fails to read it.
        _column(
            "box",
            pa.list_(REAL),
            "left, top, right, bottom in pixels of the picture, EXIF orientation applied",
            nullable=True,
        ),
        _column(
            "landmarks",
            pa.list_(REAL),
            "x, y of the eye at the left of the upright face, the other eye, nose, mouth corners; as the box",
            nullable=True,
        ),
        _column("detection_score", REAL, "0..1", nullable=True),
        _column(
            "residual_px",
            REAL,
            "RMS of the five landmarks to the template, crop pixels",
            nullable=True,
        ),
        _column("eye_distance_px", REAL, "between the eyes, upright pixels", nullable=True),
        _column("roll_degrees", REAL, "in-plane rotation that alignment removed", nullable=True),
        _column(
            "yaw_degrees",
            REAL,
            "estimate: turned to the right of the picture; left: below 0",
            nullable=True,
        ),
        _column("pitch_degrees", REAL, "estimate: looking up; down: below 0", nullable=True),
        _column(
            "sharpness",
            REAL,
            "variance of the luma's Laplacian over the face in the crop; low: blurred",
            nullable=True,
        ),
        _column("border_fraction", REAL, "share of the crop outside the picture, 0..1", nullable=True),
        _column("crop_sha256", TEXT, "hash of the aligned crop (PNG) in the crop store", nullable=True),
        _column("perceptual_hash", pa.binary(32), "as in pruned_set", nullable=True),
        _column("thumbnail", pa.binary(4096), "as in pruned_set", nullable=True),
    ]
)

ANNOTATIONS = pa.schema(
    [
        _column("image_id", TEXT, "the rated picture"),
        _column("annotator", TEXT, "who rated, qualified by the source; null for a mean", nullable=True),
        _column("score", REAL, "0..9; a mean where `ratings` is above one"),
        _column("ratings", WHOLE_NUMBER, "how many ratings the score stands for, 1 for a single one"),
        _column("rated_at", MOMENT, "when, where it is known", nullable=True),
        _column("origin", TEXT, "source and file that it came from, or the annotation site"),
        _column("original_score", REAL, "as it was given, on the scale of the file"),
        _column("attributes", TEXT, "further columns (group, split, person ...), a JSON object"),
        _column("annotator_group", TEXT, "group of the annotator, where it is known", nullable=True),
    ]
)

BALANCED_LABEL_TABLE = pa.schema(
    [
        _column("image_id", TEXT, "the rated picture"),
        _column("face", WHOLE_NUMBER, "number of the face in its picture"),
        _column("crop_sha256", TEXT, "the aligned crop"),
        _column("source", TEXT, "name of the source"),
        _column("partition", TEXT, "crawl day of the picture"),
        _column("score", REAL, "estimate of the crowd's score, 0..9"),
        _column("standard_error", REAL, "of the score; null where only a mean was given", nullable=True),
        _column("mean_score", REAL, "plain mean of the ratings, 0..9"),
        _column("annotators", WHOLE_NUMBER, "how many different annotators (or the count behind a mean)"),
        _column("class", WHOLE_NUMBER, "the score rounded, 0..9"),
        _column("cluster", TEXT, "earliest image_id of its group of near-duplicates or of one person"),
        _column("split", TEXT, "train, validation or test"),
        _column(
            "weight",
            REAL,
            "probability of a draw in training, by the setting `balance`; 0 outside of train",
        ),
        _column("group", TEXT, "subgroup for the evaluation, where given", nullable=True),
        _column("attributes", TEXT, "further columns about the picture, a JSON object"),
        _column("perceptual_hash", pa.binary(32), "as in aligned_faces", nullable=True),
        _column("thumbnail", pa.binary(4096), "as in aligned_faces", nullable=True),
    ]
)

EVALUATION_REPORT = pa.schema(
    [
        _column("image_id", TEXT, "a picture of the test split"),
        _column("face", WHOLE_NUMBER, "number of the face in its picture"),
        _column("crop_sha256", TEXT, "the aligned crop"),
        _column("score", REAL, "the crowd's score, 0..9"),
        _column("standard_error", REAL, "of the crowd's score", nullable=True),
        _column("predicted", REAL, "the model's score (not clipped)"),
        _column("low", REAL, "lower end of its interval for 90 % of faces, 0..9", nullable=True),
        _column("high", REAL, "upper end", nullable=True),
        _column("group", TEXT, "subgroup, where given", nullable=True),
    ]
)

CHAMPION_COMPARISON = pa.schema(
    [
        _column("image_id", TEXT, "a picture of the test split that neither scorer has seen"),
        _column("face", WHOLE_NUMBER, "number of the face in its picture"),
        _column("crop_sha256", TEXT, "the aligned crop"),
        _column("score", REAL, "the crowd's score, 0..9"),
        _column("group", TEXT, "subgroup, where given", nullable=True),
        _column("candidate", REAL, "the new scorer's score (not clipped)"),
        _column("champion", REAL, "the champion's score; null where there is none", nullable=True),
    ]
)

CHAMPION = pa.schema(
    [
        _column("model", TEXT, "name of the registered model"),
        _column("version", WHOLE_NUMBER, "its version that was made champion"),
        _column("checkpoint_sha256", TEXT, "the scorer's checkpoint"),
        _column("before_version", WHOLE_NUMBER, "the champion before", nullable=True),
        _column("before_sha256", TEXT, "its checkpoint", nullable=True),
    ]
)

RELEASE_BUNDLE = pa.schema(
    [
        _column("name", TEXT, "name of the file in the bundle"),
        _column("sha256", TEXT, "hash of its bytes"),
        _column("bytes", WHOLE_NUMBER, "its size"),
    ]
)

ABLATION_RUN = pa.schema(
    [
        _column("arm", TEXT, "the arm, see docs/ablations.md"),
        _column("seed", WHOLE_NUMBER, "of weights, draws, augmentation and growth"),
        _column("state", TEXT, "finished or not_run"),
        _column("reason", TEXT, "what was missing, where it was not run; else empty"),
        _column("network", TEXT, "what was fine-tuned, in words"),
        _column("parameters", WHOLE_NUMBER, "of the scorer, or of all scorers together"),
        _column("faces", WHOLE_NUMBER, "test faces"),
        _column("pearson", REAL, "on the test faces", nullable=True),
        _column("pearson_low", REAL, "lower end of its interval over faces", nullable=True),
        _column("pearson_high", REAL, "upper end", nullable=True),
        _column("validation_pearson", REAL, "of the epoch that was kept", nullable=True),
        _column("mean_absolute_error", REAL, "on the test faces, points", nullable=True),
        _column("steps", WHOLE_NUMBER, "of the optimizer, in all stages"),
        _column("seconds", REAL, "of the clock, in all stages"),
        _column("operations", WHOLE_NUMBER, "additions and multiplications of training, in all stages"),
        _column("course", TEXT, "JSON: [seconds, operations, validation Pearson] of each epoch"),
        _column("predicted", pa.list_(REAL), "scores of the test faces, by image_id and face"),
        _column("scorers", pa.list_(TEXT), "hashes of the checkpoints that scored them"),
    ]
)

ABLATION_REPORT = pa.schema(
    [
        _column("arm", TEXT, "the arm, see docs/ablations.md"),
        _column("title", TEXT, "the arm in words"),
        _column("reason", TEXT, "why it has no figures; else empty"),
        _column("network", TEXT, "what was fine-tuned, in words"),
        _column("seeds", WHOLE_NUMBER, "runs that ended"),
        _column("pearson", REAL, "on the test faces, mean over seeds", nullable=True),
        _column("pearson_low", REAL, "lower end of its interval over faces", nullable=True),
        _column("pearson_high", REAL, "upper end", nullable=True),
        _column("pearson_deviation", REAL, "standard deviation over seeds; null with one", nullable=True),
        _column("difference", REAL, "Pearson minus that of the whole method", nullable=True),
        _column("difference_low", REAL, "lower end of its interval over faces, paired", nullable=True),
        _column("difference_high", REAL, "upper end", nullable=True),
        _column("mean_absolute_error", REAL, "points, mean over seeds", nullable=True),
        _column("parameters", WHOLE_NUMBER, "of the scorer, mean over seeds", nullable=True),
        _column("steps", REAL, "mean over seeds", nullable=True),
        _column("seconds", REAL, "mean over seeds", nullable=True),
        _column("operations", REAL, "mean over seeds", nullable=True),
        _column("reached", WHOLE_NUMBER, "seeds that reached the target correlation"),
        _column("seconds_to_target", REAL, "mean over seeds; null where one did not reach it", nullable=True),
        _column("operations_to_target", REAL, "the same", nullable=True),
        _column("published_pearson", REAL, "the seed's own, on its own faces", nullable=True),
        _column("published_hours", REAL, "the same", nullable=True),
    ]
)

TABLES: dict[str, pa.Schema] = {
    "raw_crawl": RAW_CRAWL,
    "pruned_set": PRUNED_SET,
    "aligned_faces": ALIGNED_FACES,
    "annotations": ANNOTATIONS,
    "balanced_label_table": BALANCED_LABEL_TABLE,
    "evaluation_report": EVALUATION_REPORT,
    "champion_comparison": CHAMPION_COMPARISON,
    "champion": CHAMPION,
    "release_bundle": RELEASE_BUNDLE,
    "ablation_run": ABLATION_RUN,
    "ablation_report": ABLATION_REPORT,
}
