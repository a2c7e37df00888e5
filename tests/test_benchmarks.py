"""The command line of the benchmarks, and the plots that it draws."""

import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import NAMES, load, select
from benchmarks.support import plot
from benchmarks.support.report import Measurement, in_full

ROOT = Path(__file__).parents[1]
PLOTS = sorted((ROOT / "docs" / "img").glob("*.json"))


def content(*values: float, curves: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """Returns the content of a report with one table, which has a measurement for each value."""
    measurements = [in_full(Measurement(f"number {value:g}", "", "ms", [value]), []) for value in values]
    return {
        "packages": {"pgaudit": "0.1.0"},
        "machine": "2 cores",
        "settings": {"server_version": "18.4"},
        "tables": [{"title": "Some times", "plotted": True, "measurements": measurements}],
        "curves": curves or [],
    }


def test_readme_lists_every_benchmark() -> None:
    """The table has each command, in the order in which they run."""
    rows = re.findall(r"^\| `(\w+)` \|", (ROOT / "benchmarks" / "README.md").read_text(), re.MULTILINE)
    assert rows == [*NAMES, "plot"]


@pytest.mark.parametrize("name", NAMES)
def test_help_of_a_benchmark_has_question_variants_units_and_duration(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each docstring, which --help prints, says these four things."""
    with pytest.raises(SystemExit):
        select([name, "--help"])
    shown = capsys.readouterr().out
    assert (load(name).__doc__ or "").partition("\n")[0].endswith("?")
    assert [word for word in ("Variants:", "Measured", "Duration:") if word not in shown] == []


def test_unknown_benchmark_is_refused_with_the_names() -> None:
    """A wrong name ends with the list of the right ones."""
    with pytest.raises(SystemExit, match="no benchmark 'drian': choose from record, crossover, drain"):
        select(["drian"])


def test_plot_is_redrawn_from_its_data(tmp_path: Path) -> None:
    """The JSON file beside a plot is enough to draw the same plot again."""
    file = tmp_path / "times.svg"
    plot.write(content(2.0, 3.0), file)
    first = file.read_text()
    file.unlink()
    assert plot.redraw(file.with_suffix(".json")) == file
    assert file.read_text() == first


def test_plot_changes_its_colours_on_a_dark_page(tmp_path: Path) -> None:
    """Each colour is a CSS variable with a value for light and one for dark pages."""
    file = tmp_path / "times.svg"
    plot.write(content(2.0, 3.0), file)
    style, _, drawing = file.read_text().rpartition("</style>")
    assert "prefers-color-scheme: dark" in style
    assert [colour for colour in plot.DARK if colour in drawing] == []


@pytest.mark.parametrize(("highest", "label"), [(30.0, "ms"), (3000.0, "ms (log scale)")])
def test_axis_is_logarithmic_if_values_differ_widely(tmp_path: Path, highest: float, label: str) -> None:
    """One outlier must not flatten all other bars."""
    file = tmp_path / "times.svg"
    plot.write(content(3.0, highest), file)
    assert f">{label}</text>" in file.read_text()


@pytest.mark.parametrize("data", PLOTS, ids=lambda path: path.stem)
def test_plots_of_the_documentation_show_their_data(data: Path, tmp_path: Path) -> None:
    """A plot in docs/img has the texts that its data give today; `python -m benchmarks plot` renews it."""
    copy = tmp_path / data.name
    copy.write_text(data.read_text())
    texts = re.compile(r"<text[^>]*>([^<]+)</text>")
    assert texts.findall(plot.redraw(copy).read_text()) == texts.findall(data.with_suffix(".svg").read_text())
