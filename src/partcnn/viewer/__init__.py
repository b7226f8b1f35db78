"""A page on this machine alone where one drops a picture and sees its explanation."""

from partcnn.viewer.server import MOST_BYTES, MOST_PIXELS, make_server

__all__ = ["MOST_BYTES", "MOST_PIXELS", "make_server"]
