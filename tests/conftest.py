"""Fixtures that every test can use: a store in a temporary folder, nothing of the caller's environment.

Label tables hold drawn discs whose score is what one sees: how large and how red the disc is.
"""

import hashlib
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from selfai_pipeline.home import Home
from selfai_pipeline.store import Store
from selfai_pipeline.tables import TableRef

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


def pytest_configure() -> None:
    """Take interrupts, where a shell has started the tests in the background and has them ignored.

    Dagster gives SIGTERM the handler of SIGINT: every child of a test would then ignore both.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test reads or writes the home of whoever runs it, and none goes through a proxy."""
    monkeypatch.setenv("SELFAI_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SELFAI_ENV", raising=False)
    monkeypatch.delenv("SELFAI_JOURNAL_URL", raising=False)
    monkeypatch.delenv("SELFAI_ANNOTATIONS_URL", raising=False)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.at(tmp_path / "home").create()


@pytest.fixture
def store(home: Home) -> Store:
    return Store.open(home)


def draw_disc(score: float, generator: np.random.Generator, side: int = 40) -> np.ndarray:
    picture = np.full((side, side, 3), generator.integers(90, 130, 3), np.uint8)
    centre = tuple(int(value) for value in side // 2 + generator.integers(-3, 4, 2))
    red = int(60 + 20 * score)
    cv2.circle(picture, centre, int(3 + 1.4 * score), (red, 60, 60), -1, cv2.LINE_AA)
    noisy = picture + generator.normal(0, 6, picture.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def perceptual_hash(row: int, flipped_bits: Sequence[int] = ()) -> bytes:
    """256 bits that are far from those of every other row, some of them flipped."""
    bits = np.random.default_rng(row).integers(0, 2, 256)
    bits[list(flipped_bits)] ^= 1
    return np.packbits(bits.astype(np.uint8)).tobytes()


def write_labels(
    store: Store,
    pictures: list[np.ndarray],
    scores: np.ndarray,
    splits: list[str],
    *,
    first: int = 0,
    flipped_bits: Sequence[int] = (),
) -> TableRef:
    """A label table of `pictures`; `first` numbers them, `flipped_bits` are of their perceptual hashes."""
    classes = np.clip(np.round(scores), 0, 9).astype(int)
    train = [row for row, split in enumerate(splits) if split == "train"]
    count = {name: sum(classes[row] == name for row in train) for name in {classes[row] for row in train}}
    rows = []
    for row, picture in enumerate(pictures):
        png = cv2.imencode(".png", picture[..., ::-1])[1].tobytes()
        rows.append(
            {
                "image_id": hashlib.sha256(str(first + row).encode()).hexdigest(),
                "face": 0,
                "crop_sha256": store.crops.put(png),
                "source": "discs",
                "partition": "2026-01-01",
                "score": float(scores[row]),
                "standard_error": None,
                "mean_score": float(scores[row]),
                "annotators": 3,
                "class": int(classes[row]),
                "cluster": str(row),
                "split": splits[row],
                "weight": 1 / len(count) / count[classes[row]] if splits[row] == "train" else 0.0,
                "group": None,
                "attributes": "{}",
                "perceptual_hash": perceptual_hash(row, flipped_bits),
                "thumbnail": None,
            }
        )
    return store.tables.write(rows, asset="balanced_label_table", facts={"duplicate_radius": 12})


def disc_labels(store: Store, *, rows: int = 72, seed: int = 0) -> TableRef:
    """Two thirds train, one third validation; scores spread evenly over 0..9."""
    generator = np.random.default_rng(seed)
    scores = generator.permutation(np.linspace(0.2, 8.8, rows))
    pictures = [draw_disc(score, generator) for score in scores]
    splits = ["validation" if row % 3 == 0 else "train" for row in range(rows)]
    return write_labels(store, pictures, scores, splits)


@pytest.fixture
def table_of(store: Store) -> Callable[..., TableRef]:
    """Label tables of one disc a split named: `numbered_from` names the pictures, `drawn_from` seeds the
    discs, `flipped_bits` are those of the perceptual hashes.
    """

    def make(splits, *, numbered_from=0, drawn_from=0, flipped_bits=()):
        scores = np.linspace(1.0, 8.0, len(splits))
        seeds = range(drawn_from, drawn_from + len(splits))
        pictures = [
            draw_disc(score, np.random.default_rng(seed)) for score, seed in zip(scores, seeds, strict=True)
        ]
        return write_labels(store, pictures, scores, splits, first=numbered_from, flipped_bits=flipped_bits)

    return make


@pytest.fixture
def labels(store: Store) -> TableRef:
    return disc_labels(store)


@pytest.fixture(scope="module")
def chromium() -> str:
    """Debian's browser: nothing is downloaded."""
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra `dev`)")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("there is no chromium: apt-get install chromium")
    return program


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator["Browser"]:
    """A browser that resolves no names."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=chromium,
            # Root has no sandbox to go into, and /dev/shm is small in containers; names are not resolved.
            args=[
                "--no-sandbox",
                "--disable-dev-shm-usage",
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            ],
        )
        yield launched
        launched.close()


@pytest.fixture
def open_alone(browser: "Browser") -> Iterator[Callable[..., "Page"]]:
    """Opens an address in a page of its own; in the end none has complained nor asked for anything else."""
    said: list[str] = []
    asked: list[str] = []
    addresses: list[str] = []
    contexts = []

    def open_page(address: str, *, width: int, height: int) -> "Page":
        contexts.append(browser.new_context(viewport={"width": width, "height": height}))
        page = contexts[-1].new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.on("request", lambda request: asked.append(request.url))
        addresses.append(address)
        answer = page.goto(address, wait_until="load")
        assert answer is not None
        assert answer.ok
        return page

    yield open_page
    assert said == [], "the page complained"
    assert [url for url in asked if not url.startswith("data:")] == addresses
    for context in contexts:
        context.close()
