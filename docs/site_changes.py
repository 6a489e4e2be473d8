"""What the site shows in another way than the repository.

Links to files that are no pages, such as ``../examples/clinic``, become plain text. Those to ``search.md``
lead to ``searching.md``, which shows it: Sphinx has a page ``search`` of its own.
"""

from __future__ import annotations

import re

from docutils import nodes
from docutils.transforms import Transform
from sphinx.application import Sphinx


class PlainLinks(Transform):
    """Replaces such a link by its words."""

    default_priority = 1  # before the links are resolved

    def apply(self) -> None:
        """Replace every link out of the folder of the documentation."""
        for link in list(self.document.findall(nodes.Element)):
            target = link.get("refuri") or link.get("reftarget") or ""
            if str(target).startswith(("../", "/")):
                link.replace_self(nodes.inline("", "", *[child.deepcopy() for child in link.children]))


def lead_to_searching(app: Sphinx, docname: str, source: list[str]) -> None:
    """Change links to ``search.md`` in the text of a page."""
    source[0] = re.sub(r"\]\(((?:\.\./)?)search\.md", r"](\1searching.md", source[0])


def without_operations(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Leave out the parameter of Alembic's operations that Alembic gives."""
    lines[:] = [line for line in lines if line != ":param operations: Alembic's."]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register it with Sphinx."""
    app.add_transform(PlainLinks)
    app.connect("source-read", lead_to_searching)
    app.connect("autodoc-process-docstring", without_operations, priority=900)  # after napoleon
    return {"parallel_read_safe": True, "parallel_write_safe": True}
