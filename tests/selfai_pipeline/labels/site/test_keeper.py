"""The site is kept up to date beside answering, whatever goes wrong once."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from selfai_pipeline.labels.site.keeper import Keeper
from selfai_pipeline.store import Store


def test_new_faces_come_in_after_a_look_that_failed(
    crowd: Callable[..., Any],
    aligned: Callable[..., Any],
    publish: Callable[..., None],
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    site = crowd(1, wanted_annotators=1, renew_every_s=0.01)
    keeper = Keeper(site.database, store=store, settings=site.settings)
    failed, look = threading.Event(), keeper.look
    looked = threading.Event()

    def fail_once() -> None:
        if not failed.is_set():
            failed.set()
            raise FloatingPointError("no figure")
        look()
        looked.set()

    monkeypatch.setattr(keeper, "look", fail_once)
    publish(aligned(["late"], day="2026-01-02"))
    with keeper:
        assert looked.wait(timeout=30)
    assert "it looks again" in caplog.text
    assert site.score_all(site.person("ann")) == 2
