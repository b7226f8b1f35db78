"""`python -m partcnn`."""

import sys

from partcnn.cli import main

sys.exit(main())
