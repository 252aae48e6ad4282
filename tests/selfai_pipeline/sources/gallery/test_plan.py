from collections import Counter

from selfai_pipeline.sources.gallery.plan import JUNK, SPECIAL_PORTRAITS, Kind, plan_gallery
from selfai_pipeline.sources.gallery.settings import GallerySettings

SETTINGS = GallerySettings(days=["2026-01-01", "2026-01-02", "2026-01-03"], portraits_per_day=20)


def test_each_day_holds_its_portraits_and_every_kind_of_junk() -> None:
    plan = plan_gallery(SETTINGS)
    for day, items in plan.items():
        kinds = Counter(item.kind for item in items)
        assert sum(kinds[kind] for kind in (Kind.PORTRAIT, *SPECIAL_PORTRAITS)) == 20
        assert all(kinds[kind] == count for kind, count in Counter(JUNK).items())
        assert kinds[Kind.REPUBLISHED] == (day != "2026-01-01")


def test_names_are_unique_over_all_days() -> None:
    names = [item.name for items in plan_gallery(SETTINGS).values() for item in items]
    assert len(set(names)) == len(names)


def test_a_day_does_not_depend_on_later_days() -> None:
    shorter = plan_gallery(SETTINGS.model_copy(update={"days": SETTINGS.days[:2]}))
    assert shorter["2026-01-02"] == plan_gallery(SETTINGS)["2026-01-02"]


def test_a_repeat_names_a_portrait_that_exists_and_each_is_repeated_once_a_day() -> None:
    plan = plan_gallery(SETTINGS)
    portraits = {item.name for items in plan.values() for item in items if item.kind is Kind.PORTRAIT}
    for items in plan.values():
        originals = [item.original for item in items if item.kind in (Kind.COPY, Kind.REENCODED)]
        assert len(set(originals)) == len(originals)
        assert {item.original for item in items if item.original} <= portraits


def test_a_day_of_one_portrait_still_has_a_plan() -> None:
    (items,) = plan_gallery(GallerySettings(days=["2026-01-01"], portraits_per_day=1)).values()
    assert [item.kind for item in items if item.rated] == [Kind.GREY]
    assert all(item.original is None for item in items)
