"""What the process says when it ends."""

DONE = 0
BAD_INPUT = 2
INTERRUPTED = 130  # as a shell says it of Ctrl-C
