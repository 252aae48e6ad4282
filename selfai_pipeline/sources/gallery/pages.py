"""The gallery's pages: plain HTML that says what the pictures are."""

import html

from selfai_pipeline.sources.gallery.plan import FORBIDDEN_FOLDER, Item, Kind

ROBOTS = f"User-agent: *\nDisallow: /{FORBIDDEN_FOLDER}/\n"

NOTE = (
    "Every portrait here is rendered by a program, nobody's photograph, and the scores that go with them are "
    "simulated. Spoilt, doubled and forbidden files stand among them on purpose, to show what a crawl meets."
)

_STYLE = """
body { margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #222; }
body { font: 16px/1.5 system-ui, sans-serif; }
.note { background: #fff6d8; border-left: 4px solid #d9a400; padding: .6rem 1rem; }
ul { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: .8rem; }
ul { padding: 0; list-style: none; }
img { width: 100%; height: 11rem; object-fit: cover; border-radius: 6px; background: #eee; }
""".strip()


def _page(title: str, body: str) -> str:
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{html.escape(title)}</title>\n<style>\n{_STYLE}\n</style>\n</head>\n<body>\n<h1>{html.escape(title)}</h1>\n"
        f'<p class="note">{html.escape(NOTE)}</p>\n{body}</body>\n</html>\n'
    )


def front_page(days: list[str]) -> str:
    """The list of days."""
    links = "".join(f'<li><a href="{day}/index.html">{day}</a></li>\n' for day in days)
    return _page("Rendered sample gallery", f"<ul>\n{links}</ul>\n")


def day_page(day: str, items: list[Item]) -> str:
    """A day's pictures; it links to nothing else, so that a crawl of a day stays within it."""
    rows = []
    for item in items:
        link = f"../{FORBIDDEN_FOLDER}/{item.name}" if item.kind is Kind.FORBIDDEN else item.name
        rows.append(
            f'<li><a href="{link}"><img src="{link}" alt="rendered picture" loading="lazy"></a></li>\n'
        )
    return _page(f"Rendered sample gallery, {day}", f"<ul>\n{''.join(rows)}</ul>\n")
