"""Sections to one HTML page or one Markdown text."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from importlib.resources import files

import jinja2
from markupsafe import Markup

from rm_value_tasks import __version__
from rm_value_tasks.figures import to_bytes
from rm_value_tasks.report.content import Picture, Section
from rm_value_tasks.text.markup import markdown, visible

__all__ = ["html_page", "markdown_text"]


def html_page(title: str, sections: Sequence[Section]) -> str:
    """Render a page that needs nothing else: styles, script and figures are in it.

    A content security policy forbids any request and any script but our own, so that even
    markup that slipped through would do nothing. Figures are images (data URIs), so that
    no two of them share ids with each other or the page.
    """
    folder = files("rm_value_tasks.report") / "templates"
    script = _printable_lines((folder / "report.js").read_text(encoding="utf-8"))
    style = (folder / "report.css").read_text(encoding="utf-8")
    environment = _environment(autoescape=True)
    environment.filters["data_uri"] = _data_uri
    environment.filters["visible"] = visible
    return environment.get_template("report.html.j2").render(
        title=title,
        sections=sections,
        version=__version__,
        style=Markup(style),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def markdown_text(title: str, sections: Sequence[Section]) -> str:
    """Render the same sections for a model card: tables, no figures."""
    environment = _environment(autoescape=False)
    environment.filters["md"] = markdown
    rendered = environment.get_template("report.md.j2").render(
        title=title, sections=sections, version=__version__
    )
    return re.sub(r"\n{3,}", "\n\n", rendered).strip() + "\n"


def _environment(autoescape: bool) -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("rm_value_tasks.report", "templates"),
        autoescape=autoescape,  # noqa: S701 - off for Markdown only, which has its own filter
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _printable_lines(script: str) -> str:
    # The policy's hash is of the very characters between the tags, in HTML's line ends.
    return script.replace("\r\n", "\n").strip()


def _data_uri(picture: Picture) -> str:
    encoded = base64.b64encode(to_bytes(picture.figure, "svg")).decode()
    return f"data:image/svg+xml;base64,{encoded}"
