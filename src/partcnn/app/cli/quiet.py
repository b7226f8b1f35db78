"""Keeps Lightning's own remarks off the terminal: about devices that are not there, and products."""

import logging


def quiet_lightning() -> None:
    """Called by commands that train. Lightning is imported here: it sets its loggers up when it is imported."""
    import lightning  # noqa: F401

    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
