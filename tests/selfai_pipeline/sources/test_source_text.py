"""One source is changed in the text of sources.yaml, and everything around it stays as it was written."""

from pathlib import Path

import pytest

from selfai_pipeline.errors import InputError
from selfai_pipeline.sources.declarations import read_declarations
from selfai_pipeline.sources.gallery.sample import sources_text
from selfai_pipeline.sources.source_text import HEAD, with_source

PATH = Path("sources.yaml")
NEW = {"name": "new", "kind": "folder", "path": "/a b", "day": "2026-02-01"}
ENTRY = """\
- name: new
  kind: folder
  path: /a b
  day: '2026-02-01'
"""


def indented(entry: str) -> str:
    return "".join(f"  {line}\n" for line in entry.splitlines())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", f"{HEAD}sources:\n{ENTRY}"),
        ("# mine", f"# mine\nsources:\n{ENTRY}"),
        ("# a\nsources: []  # none yet\n# z\n", f"# a\nsources:\n{ENTRY}# none yet\n# z\n"),
        ("# a\nsources:\n# z\n", f"# a\nsources:\n{ENTRY}# z\n"),
        ("{}", f"sources:\n{ENTRY}"),
        ("sources:\n- name: x # c\n", f"sources:\n- name: x # c\n{ENTRY}"),
        ("sources:\n- name: x", f"sources:\n- name: x\n{ENTRY}"),
        (
            "sources:\n- name: x\n  urls: [a,\n    b]\n\n# z\n",
            f"sources:\n- name: x\n  urls: [a,\n    b]\n{ENTRY}\n# z\n",
        ),
        (
            "sources:\n- name: x\n  licence:\n\n# z\n",
            f"sources:\n- name: x\n  licence:\n{ENTRY}\n# z\n",
        ),
        (
            "sources:\n- name: x\n  licence: |\n    two\n    lines\n\n# z\n",
            f"sources:\n- name: x\n  licence: |\n    two\n    lines\n{ENTRY}\n# z\n",
        ),
    ],
)
def test_a_source_is_added_after_the_last_one(before: str, after: str) -> None:
    assert with_source(before, NEW, path=PATH) == after


def test_the_sample_file_keeps_every_line() -> None:
    assert with_source(sources_text(3000), NEW, path=PATH) == sources_text(3000) + indented(ENTRY)


@pytest.mark.parametrize(
    "old",
    [
        "  - name: new\n    path: old   # there\n",
        "  - # - here\n    kind: folder\n    name: new\n",
        "  -\n    name: new\n    licence: |\n      two\n\n      lines\n",
        "  - {name: new,\n     path: x}\n",
        "  - name: new\n    ratings:\n      - path: a\n      - path: b\n",
    ],
)
@pytest.mark.parametrize("behind", ["\n  # next\n  - name: z\n", "\n# end\n", ""])
def test_a_source_of_the_same_name_is_replaced_where_it_stands(old: str, behind: str) -> None:
    before = "# a\nsources:\n  # first\n  - name: b   # c\n\n  # old\n"
    assert with_source(before + old + behind, NEW, path=PATH) == before + indented(ENTRY) + behind


def test_a_source_can_be_replaced_again_and_again() -> None:
    once = with_source(sources_text(3000), NEW, path=PATH)
    assert with_source(once, NEW, path=PATH) == once
    changed = with_source(once, {**NEW, "day": "2026-03-01"}, path=PATH)
    assert read_declarations(changed, PATH)[0][1]["day"] == "2026-03-01"


@pytest.mark.parametrize(
    "text",
    ["sources: [{name: x}]", "sources:\n- &a {name: new}\n- *a\n", "--- \nsources: {}\n"],
)
def test_a_text_that_would_lose_something_is_left_to_its_author(text: str) -> None:
    with pytest.raises(InputError, match=r"sources\.yaml"):
        with_source(text, NEW, path=PATH)
