"""`make faults`: every test marked as a fault is run, and what is seen is written to a page.

A test says which fault it makes, and how that ends, with `@pytest.mark.fault(area, case, ends)`; a case of a
parametrized test with `pytest.param(..., marks=pytest.mark.fault(...))`. Where one fails, no page is written.
"""

from pathlib import Path

import pytest

AREAS = {
    "run": "A run directory",
    "stop": "Stopped, refused, full",
    "resume": "Going on",
    "devices": "Several devices",
    "data": "Much data",
    "cache": "The cache of features",
    "picture": "Pictures and the viewer",
    "name": "Names",
    "file": "Files of strangers",
}
_HEAD = """# Faults

What is done to partcnn, and how it ends. Each line is a test that does it; `make faults` runs them all and writes
this page.
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--faults-page", type=Path, help="run the tests of faults alone and write this page of them")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "fault(area, case, ends): a fault that is made, for docs/results/faults.md")
    if config.option.faults_page:
        config.pluginmanager.register(_Page(config.option.faults_page))


class _Page:
    def __init__(self, file: Path) -> None:
        self._file = file
        self._seen: set[str] = set()  # tests that passed
        self._of: dict[str, tuple[str, str, str]] = {}  # test → its fault

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        marks = {item.nodeid: item.get_closest_marker("fault") for item in items}
        config.hook.pytest_deselected(items=[item for item in items if marks[item.nodeid] is None])
        items[:] = [item for item in items if marks[item.nodeid] is not None]
        self._of = {name: mark.args for name, mark in marks.items() if mark is not None}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self._seen.add(report.nodeid)

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        if exitstatus:
            return
        lines = [_HEAD]
        for area, heading in AREAS.items():
            cases = dict.fromkeys(
                fault[1:] for name, fault in self._of.items() if name in self._seen and fault[0] == area
            )
            if cases:
                lines += [f"## {heading}", "", "| fault | what is seen |", "|---|---|"]
                lines += [*(f"| {_cell(case)} | {_cell(ends)} |" for case, ends in cases), ""]
        self._file.write_text("\n".join(lines), encoding="utf-8")


def _cell(text: str) -> str:
    """As a sentence in a table, whose columns are told apart by bars."""
    return (text[0].upper() + text[1:]).removesuffix(".").replace("|", "\\|")
