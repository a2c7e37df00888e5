"""A daily report as HTML, as CSV for spreadsheets, and as plain text for e-mails.

The same numbers always give the same bytes, so that a report that is sent again can be recognized.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template, select_autoescape

from pgaudit.streams.destinations.report_summary import Count, Summary
from pgaudit.trail.export.csv_ import BOM, safe, written

TEMPLATES: Final = Path(__file__).with_name("templates")
HEADER: Final = ("day", "zone", "action", "outcome", "actor", "events", "first_index", "last_index")
OTHERS: Final = "(others)"
BAD: Final = (("denied", "denied"), ("failure", "failed"))


@dataclass(frozen=True, slots=True)
class ReportDocument:
    """A report that can be sent.

    :ivar name: of its files, without their suffix.
    :ivar identity: the same for the same report.
    """

    name: str
    identity: str
    title: str
    text: str
    html: str
    csv: bytes
    summary: Summary


def render_report(summary: Summary) -> ReportDocument:
    """Returns the document of a day."""
    day, indexes = summary.day.date.isoformat(), summary.indexes
    name = f"{summary.stream}_{day}_{indexes.start}-{indexes.stop - 1}"
    csv = BOM + written([HEADER, *records(summary)])
    title = title_of(summary)
    values = {"summary": summary, "title": title, "heading": heading_of(summary), "shares": shares(summary)}
    return ReportDocument(
        name=name,
        identity=sha256(name.encode() + b"\0" + csv).hexdigest()[:32],
        title=title,
        text=template("report.txt.jinja").render(values),
        html=template("report.html.jinja").render(values),
        csv=csv,
        summary=summary,
    )


def title_of(summary: Summary) -> str:
    """Returns a title such as ``2026-11-26: 4 events, 1 denied, 2 failed``."""
    told = [f"{summary.events:,} event{'' if summary.events == 1 else 's'}"]
    told += [f"{summary.outcomes[name]:,} {word}" for name, word in BAD if name in summary.outcomes]
    return f"{summary.day.date.isoformat()}: {', '.join(told)}"


def heading_of(summary: Summary) -> str:
    """Returns a heading such as ``Thursday, 26 November 2026``."""
    day = summary.day.date
    return f"{day:%A}, {day.day} {day:%B %Y}"


def records(summary: Summary) -> Iterator[list[str]]:
    """Yields the records of the CSV; the last one has what is left out, so that the sum is that of all events."""
    day = [summary.day.date.isoformat(), safe(summary.day.zone)]
    for count in summary.counts:
        yield [*day, *cells(count)]
    if summary.events > summary.counted:
        yield [*day, OTHERS, "", "", str(summary.events - summary.counted), "", ""]


def cells(count: Count) -> list[str]:
    """Returns the cells of a count, none of which is a formula."""
    texts = [safe(text) for text in (count.action, count.outcome, count.actor or "")]
    return [*texts, str(count.events), str(count.first_index), str(count.last_index)]


def shares(summary: Summary) -> list[tuple[str, int, float]]:
    """Returns each outcome with its number and percentage: success first, then what is to be looked at."""
    order = {"success": 0, "denied": 1, "failure": 2}
    outcomes = sorted(summary.outcomes.items(), key=lambda one: (order.get(one[0], 3), one[0]))
    return [(outcome, number, 100 * number / summary.events) for outcome, number in outcomes]


@cache
def template(name: str) -> Template:
    """Returns one of our templates; that of HTML escapes what is put into it."""
    environment = Environment(
        autoescape=select_autoescape(["html.jinja"]), undefined=StrictUndefined, loader=FileSystemLoader(TEMPLATES),
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    return environment.get_template(name)
