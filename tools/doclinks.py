"""Check that every local link and picture in a folder of HTML pages leads somewhere.

Usage:  python tools/doclinks.py FOLDER

A link into another page must find the page and its anchor; links to other machines are left alone,
so that no network is needed.  Exit status 1: a link is broken (each is named); 2: there is no page.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The links and anchors of a page."""

    def __init__(self, path):
        super().__init__()
        self.links, self.anchors = [], set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        """Collect what a tag points to, and what it can be pointed to by."""
        named = dict(attrs)
        self.anchors |= {named.get("id"), named.get("name")} - {None}
        link = named.get("href" if tag in ("a", "link") else "src")
        if link:
            self.links.append(link)


def broken(folder):
    """Yield (page, link) for each link that leads nowhere; raises ValueError without pages."""
    pages = {path: Page(path) for path in sorted(folder.rglob("*.html"))}
    if not pages:
        raise ValueError(f"no page in {folder}")
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            found = target.is_file()
            if found and parts.fragment and target in pages:
                found = unquote(parts.fragment) in pages[target].anchors
            if not found:
                yield path.relative_to(folder), link


def main(argv):
    """Print broken links; return the exit status."""
    if len(argv) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        found = list(broken(Path(argv[0]).resolve()))
    except ValueError as error:
        print(f"doclinks: {error}", file=sys.stderr)
        return 2
    for page, link in found:
        print(f"{page}: broken link: {link}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
