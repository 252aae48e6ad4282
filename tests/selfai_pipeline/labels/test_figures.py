"""The tables and the plot on the page of the labels."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from selfai_pipeline.labels.figures import (
    agreement_lines,
    distributions_png,
    group_lines,
    split_lines,
    write_distributions,
)
from selfai_pipeline.labels.label_table import build_label_table
from selfai_pipeline.labels.settings import LabelSettings
from selfai_pipeline.store import Store
from selfai_pipeline.tables import Snapshot, TableRef

Rating = tuple[str, str | None, float]


@pytest.fixture
def build(
    store: Store, annotated: Callable[..., TableRef], aligned: Callable[..., TableRef]
) -> Callable[..., TableRef]:
    """A label table; `groups` maps annotators to their group."""

    def make(rows: list[Rating], *, groups: dict[str, str] | None = None) -> TableRef:
        table = store.tables.read(annotated(rows)).to_pylist()
        for row in table:
            row["annotator_group"] = (groups or {}).get(str(row["annotator"]).removeprefix("faces/"))
        faces = aligned(sorted({name for name, _, _ in rows}))
        ratings = store.tables.write(table, asset="annotations")
        return build_label_table(
            ratings, Snapshot({faces.partition: faces}), store=store, settings=LabelSettings()
        )

    return make


def test_agreement_is_shown_with_what_it_compares_or_why_it_is_not_known(
    build: Callable[..., TableRef], store: Store, crowd: Callable[..., list[Rating]]
) -> None:
    lines = {line["figure"]: line for line in agreement_lines(store.tables.facts(build(crowd())))}
    assert float(lines["icc_2_1"]["value"]) > 0.6
    assert float(lines["icc_2_k"]["value"]) > float(lines["icc_2_1"]["value"])
    assert float(lines["noise_ceiling"]["value"]) > 0.9
    assert lines["icc_2_1"]["because"] == ""
    means: list[Rating] = [(name, None, score) for name, who, score in crowd() if who == "a0"]
    unknown = {line["figure"]: line for line in agreement_lines(store.tables.facts(build(means)))}
    assert {line["value"] for line in unknown.values()} == {"not known"}
    assert unknown["icc_2_1"]["because"] == "there are no single ratings"
    assert str(unknown["noise_ceiling"]["because"]).startswith("only means were given")
    assert all(line["because"] for line in unknown.values())


def test_groups_are_shown_where_they_are_known(
    build: Callable[..., TableRef], store: Store, crowd: Callable[..., list[Rating]]
) -> None:
    rows = crowd(annotators=5)
    groups = {"a0": "north", "a1": "north", "a2": "south", "a3": "south"}
    facts = store.tables.facts(build(rows, groups=groups))
    assert facts["agreement_by_group"]["annotators_without_group"] == 1
    north, south, both = group_lines(facts)
    assert (north["groups"], south["groups"], both["groups"]) == ("north", "south", "north and south")
    assert float(both["true scores"]) == pytest.approx(1, abs=0.1)
    assert float(both["two annotators"]) > 0.7
    assert group_lines(store.tables.facts(build(rows))) == []


def test_splits_are_shown_with_their_scores(
    build: Callable[..., TableRef], store: Store, crowd: Callable[..., list[Rating]]
) -> None:
    ref = build(crowd(pictures=100))
    lines: list[dict[str, Any]] = split_lines(ref, store=store)
    assert [line["split"] for line in lines] == ["train", "validation", "test"]
    assert sum(line["faces"] for line in lines) == 100
    for line in lines:
        assert line["5 %"] < line["median"] < line["95 %"]
        assert line["mean"] == pytest.approx(
            store.tables.facts(ref)["score_by_split"][line["split"]]["mean"], abs=0.006
        )


def test_the_plot_is_a_picture_and_the_same_for_the_same_table(
    build: Callable[..., TableRef], store: Store, crowd: Callable[..., list[Rating]], tmp_path: Path
) -> None:
    ref = build(crowd())
    write_distributions(ref, store=store, path=tmp_path / "previews" / "all.png")
    content = (tmp_path / "previews" / "all.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert distributions_png(ref, store=store) == content
    assert distributions_png(build(crowd(seed=1)), store=store) != content
