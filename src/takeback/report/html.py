"""From a record to sections, and to one HTML file that needs no network."""

from __future__ import annotations

from dataclasses import replace

from markupsafe import Markup

from takeback.draw.page import Section, page
from takeback.report.examples import examples
from takeback.report.localised import localised
from takeback.report.made import made
from takeback.report.moved import moved
from takeback.report.opening import opening
from takeback.report.reading import reading
from takeback.report.record import Record
from takeback.report.takebacks import takebacks
from takeback.report.trained import trained


def render(record: Record) -> str:
    """Write the report of a record; the same record gives the same bytes."""
    about = [
        f"A takeback report of the run “{record.plan.get('name') or record.folder.name}”: what training "
        "changed, where the change sits, and what putting parts of it back does."
    ]
    if record.project:
        name, way = record.project
        link = Markup('<span id="project">It belongs to the project <a href="{}">{}</a>.</span>')
        about.append(link.format(way, name))
    return page(record.title, about, sections_of(record))


def sections_of(record: Record) -> list[Section]:
    """Return the sections of a report, its opening first."""
    return [
        opening(record),
        trained(record),
        moved(record),
        takebacks(record),
        localised(record),
        examples(record),
        *(replace(section, name="contrasts") for section in record.contrasts),
        *(replace(section, name="conjectures") for section in record.conjectures),
        reading(record),
        made(record),
    ]
