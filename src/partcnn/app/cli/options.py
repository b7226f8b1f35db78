"""Options that several commands have."""

from jsonargparse import ArgumentParser

from partcnn.app.settings import DEFAULT_WORKERS


def add_workers(parser: ArgumentParser) -> None:
    parser.add_argument("--workers", type=int, default=DEFAULT_WORKERS, help="processes that decode pictures")


def add_json(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
