"""Great Expectations' own pages of a validation, as an option: they load styles and scripts from the net.

One page a table, rendered from the reports as they come, and an index. (Great Expectations builds its site from one
context alone, and a second one would wipe the pages of the first.)
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

INDEX = "index.html"


class DataDocs:
    """A folder of pages; give `keep` to the validator, and `close` it at the end.

    Args:
        folder: made if need be; pages of the same names are written over.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._pages: list[tuple[str, str, str, str]] = []

    def keep(self, dataset: str, artefact: str, table: str, report: Any) -> None:
        """Render one table's report."""
        from great_expectations.render.renderer import ValidationResultsPageRenderer
        from great_expectations.render.view import DefaultJinjaPageView

        parts = [re.sub(r"\W", "_", part) for part in (dataset, artefact, table)]
        path = self.folder.joinpath(*parts).with_suffix(".html")
        path.parent.mkdir(parents=True, exist_ok=True)
        document = ValidationResultsPageRenderer().render(report)
        path.write_text(DefaultJinjaPageView().render(document), encoding="utf-8")
        self._pages.append((dataset, artefact, table, path.relative_to(self.folder).as_posix()))

    def close(self) -> Path:
        """Write the index of the pages."""
        self.folder.mkdir(parents=True, exist_ok=True)
        links = "\n".join(
            f'<li><a href="{html.escape(href)}">{html.escape(f"{dataset} · {artefact} · {table}")}</a></li>'
            for dataset, artefact, table, href in self._pages
        )
        page = f'<!doctype html>\n<meta charset="utf-8">\n<title>Data Docs</title>\n<ul>\n{links}\n</ul>\n'
        path = self.folder / INDEX
        path.write_text(page, encoding="utf-8")
        return path
