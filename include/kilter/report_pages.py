"""Pages for people: one file each, without scripts or outside resources; all text is escaped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kilter.interval_plot import WIDTH, interval_plot


def render_page(template: str, **values: Any) -> str:
    """Fill a template of this folder; each may use the macros of `report_parts.html.j2`."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    pages = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters["number"] = lambda number: f"{number:.4g}"
    pages.filters["percent"] = lambda share: f"{share * 100:.4g}"
    pages.filters["time"] = lambda time: f"{time:%-d %B %Y, %H:%M} UTC"
    return pages.get_template(template).render(plot=interval_plot, width=WIDTH, **values)
