"""Every kind of file that a home holds, and what a removal does with it: the one list of them.

Whoever writes a new kind of file names it here; a test holds the list against what a whole run leaves.
"""

import re
from dataclasses import dataclass
from enum import StrEnum


class Way(StrEnum):
    """What a removal does with the files of a place."""

    REWRITTEN = "rewritten"
    DELETED = "deleted"
    SCRUBBED = "scrubbed"
    MARKED = "marked"
    MADE_AGAIN = "made again"
    HOLDS_NONE = "holds none"
    OWN = "the removal's own"
    LEFT = "left to the user"


@dataclass(frozen=True)
class Place:
    """Files whose path inside the home or the storage fits `pattern` as a whole; `why` says what becomes of
    them, in a sentence.
    """

    pattern: str
    way: Way
    why: str

    def fits(self, relative: str) -> bool:
        return re.fullmatch(self.pattern, relative) is not None


HASH = "[0-9a-f]{64}"
NAME = r"[A-Za-z0-9][A-Za-z0-9._+-]*"

PLACES = (
    Place(
        r"removals/records/[0-9a-f]{12}\.json",
        Way.SCRUBBED,
        "Keyed hashes, which name nothing, and reasons: what a later removal is about is taken out of these.",
    ),
    Place(r"removals/.*", Way.OWN, "The locks, the key and the plans of removals."),
    Place(
        r"(?!cache/gallery/)(.*[/.-])?[0-9a-f]{32}\.part",
        Way.DELETED,
        "What killed processes left half-written: all of it goes, since nobody else writes meanwhile.",
    ),
    Place(
        rf"tables/{NAME}/{NAME}/{HASH}\.parquet",
        Way.REWRITTEN,
        "Versions that hold a row are written anew without it, thumbnails included, and the old file goes.",
    ),
    Place(rf"tables/{NAME}/{NAME}/redacted\.json", Way.REWRITTEN, "Leads from old hashes to new ones."),
    Place(
        rf"tables/{NAME}/{NAME}/(records/{HASH}|current|verdicts/{HASH})\.json",
        Way.HOLDS_NONE,
        "Hashes of versions, settings (of deny lists a hash), verdicts; the pointer moves to what is left of "
        "its version.",
    ),
    Place(rf"pictures/../../{HASH}", Way.DELETED, "The pictures as they were crawled."),
    Place(rf"crops/../../{HASH}", Way.DELETED, "Aligned faces."),
    Place(
        rf"promotions/[0-9]{{6}}-{HASH}\.json|promotions\.lock",
        Way.HOLDS_NONE,
        "Who made which model the champion, and why: a reason that names a picture or a host is refused.",
    ),
    Place(
        r"releases/.*",
        Way.MARKED,
        "Weights and figures, no picture and no row: the models are marked, and are not released again.",
    ),
    Place(
        rf"checkpoints/{NAME}/{HASH}/(record\.json|weights\.safetensors)",
        Way.MARKED,
        "Weights cannot be unlearnt, and a record names no picture: the models are marked.",
    ),
    Place(r"journal\.sqlite(-wal|-shm|-journal)?", Way.REWRITTEN, "Rows of the journal of fetches."),
    Place(
        r"annotations\.sqlite(-wal|-shm|-journal)?",
        Way.REWRITTEN,
        "Faces and everything said of them; annotators and everything they said.",
    ),
    Place(r"annotations\.key.*", Way.HOLDS_NONE, "A random key."),
    Place(
        rf"imports/{NAME}/(ratings|scores|pictures)(-[0-9a-f]{{12}})?\.[a-z.]+",
        Way.REWRITTEN,
        "Rows about the pictures or by the annotators go, and addresses in further cells of other rows; "
        "sources.yaml then names the new file.",
    ),
    Place(rf"imports/{NAME}/gallery\.json", Way.HOLDS_NONE, "Which gallery the ratings are made up for."),
    Place(
        rf"imports/{NAME}/left_out\.csv",
        Way.DELETED,
        "Names of pictures in rows that could not be used; the next run lists them again, without these.",
    ),
    Place(r"previews/(raw_crawl|pruned_set|aligned_faces)/.*", Way.DELETED, "Contact sheets of the days."),
    Place(r"previews/balanced_label_table/.*\.png", Way.HOLDS_NONE, "Plots of how scores are distributed."),
    Place(
        rf"reports/{HASH}/.*",
        Way.DELETED,
        "Pages with faces in them; a page that says so takes the place of each.",
    ),
    Place(
        rf"cache/pixels/{HASH}-[0-9]+-[0-9.e-]+(-planes)?\.npy",
        Way.DELETED,
        "Pixels of a label table, made again.",
    ),
    Place(r"cache/recovery/.*", Way.DELETED, "Training that stopped half-way on such a label table."),
    Place(r"cache/ablations/.*", Way.DELETED, "Scores of single faces by ablations."),
    Place(r"cache/copies/.*", Way.DELETED, "Digests of thumbnails, made again."),
    Place(r"cache/folders/.*", Way.DELETED, "Addresses of files in an object store, made again."),
    Place(r"cache/stored_files/.*", Way.DELETED, "Copies of lists from an object store, fetched again."),
    Place(
        r"cache/gallery/.*",
        Way.LEFT,
        "The sample gallery plays the part of somebody else's site; its pictures are rendered.",
    ),
    Place(
        r"dagster/dagster\.yaml",
        Way.LEFT,
        "The user may have changed it. Where it names what was removed, the command says so.",
    ),
    Place(
        r"dagster/.*",
        Way.SCRUBBED,
        "Runs, events and logs name no picture, but an error may have: ids and addresses are taken out.",
    ),
    Place(
        r"mlflow/.*",
        Way.SCRUBBED,
        "As Dagster's; registered models that learnt from it get a tag. Their weights stay.",
    ),
    Place(
        r"(sources|settings)\.yaml",
        Way.LEFT,
        "Written by the user. Where one names what was removed, the command says so.",
    ),
)


def place_of(relative: str) -> Place | None:
    """The place that a file belongs to; None for a file that the user put there, or a new kind."""
    return next((place for place in PLACES if place.fits(relative)), None)
