"""`python -m partcnn`."""

import sys

from partcnn.app.cli.commands import main

sys.exit(main())
