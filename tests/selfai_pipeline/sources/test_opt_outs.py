"""What headers and meta tags reserve, and for whom."""

import pytest

from selfai_pipeline.sources.opt_outs import header_directives, meta_directives, refusal


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], set()),
        (["noindex"], {"noindex"}),
        (["NoIndex, NOFOLLOW"], {"noindex", "nofollow"}),
        (["noai", "noimageai"], {"noai", "noimageai"}),
        (["none"], {"noindex", "nofollow"}),
        (["all, index, follow, max-snippet: 20"], set()),
        (["selfai: noai"], {"noai"}),
        (["Selfai: noai"], {"noai"}),
        (["googlebot: noindex"], set()),
        (["googlebot: noindex, noai"], set()),
        (["googlebot: noindex, selfai: noai, nofollow"], {"noai", "nofollow"}),
        (["noimageindex, googlebot: noindex"], {"noimageindex"}),
        (["*: noai"], {"noai"}),
        (["selfai: all", "noindex"], {"noindex"}),
        (["max-image-preview: none, noai"], {"noai"}),
        (["unavailable_after: Friday, 25 Jun 2010 15:00:00 PST, noimageai"], {"noimageai"}),
        (["noindexing, anoai, noai-not"], set()),
        ([":, ,,noai"], {"noai"}),
    ],
)
def test_x_robots_tag(headers: list[str], expected: set[str]) -> None:
    assert header_directives(headers, []) == expected


@pytest.mark.parametrize(("header", "reserved"), [("1", True), (" 1 ", True), ("0", False), ("yes", False)])
def test_tdm_reservation(header: str, reserved: bool) -> None:
    assert (header_directives([], [header]) == {"tdm_reservation"}) is reserved
    assert (meta_directives({"name": "TDM-Reservation", "content": header}) != frozenset()) is reserved


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("robots", "noindex,nofollow", {"noindex", "nofollow"}),
        ("ROBOTS", "NoAI NoImageAI", {"noai", "noimageai"}),
        ("selfai", "none", {"noindex", "nofollow"}),
        ("googlebot", "noindex", set()),
        ("description", "noindex", set()),
        ("", "noindex", set()),
    ],
)
def test_meta_tags(name: str, content: str, expected: set[str]) -> None:
    assert meta_directives({"name": name, "content": content}) == expected


def test_the_first_reason_is_named_and_nofollow_is_none() -> None:
    assert refusal(frozenset()) is None
    assert refusal(frozenset({"nofollow"})) is None
    assert refusal(frozenset({"noindex", "noai", "tdm_reservation"})) == "noai"
    assert refusal(frozenset({"tdm_reservation", "noimageindex"})) == "noimageindex"
