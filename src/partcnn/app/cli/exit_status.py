"""What the process says when it ends, beside 128 + the number of the signal that stopped it."""

DONE = 0
BAD_INPUT = 2
INTERRUPTED = 130  # as a shell says it of Ctrl-C; `main` makes that of another signal of it
