import pytest
from pydantic import ValidationError

from selfai_pipeline.errors import InputError
from selfai_pipeline.sources.gallery.settings import GallerySettings


def test_the_days_come_sorted() -> None:
    assert GallerySettings(days=["2026-01-02", "2026-01-01"]).days == ["2026-01-01", "2026-01-02"]


@pytest.mark.parametrize("days", [["2026-02-30"], ["20260101"], ["../.."], ["2026-01-01", "2026-01-01"], []])
def test_what_is_no_day_is_refused(days: list[str]) -> None:
    with pytest.raises(ValidationError):
        GallerySettings(days=days)


def test_the_port_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert GallerySettings().port == 8650
    monkeypatch.setenv("SELFAI_GALLERY_PORT", "8700")
    assert GallerySettings().port == 8700
    monkeypatch.setenv("SELFAI_GALLERY_PORT", "gallery")
    with pytest.raises(InputError, match=r"SELFAI_GALLERY_PORT: 'gallery' is no port\. Set it to"):
        GallerySettings()


def test_a_smaller_gallery_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert GallerySettings().portraits_per_day == 100
    monkeypatch.setenv("SELFAI_GALLERY_PORTRAITS", "12")
    assert GallerySettings().portraits_per_day == 12
    monkeypatch.setenv("SELFAI_GALLERY_PORTRAITS", "0")
    with pytest.raises(InputError, match="SELFAI_GALLERY_PORTRAITS: '0' is no number of portraits"):
        GallerySettings()
