"""What the processes of `processes.py` have imported when they begin."""

import partcnn.app.cli.commands
import partcnn.app.cli.evaluate
import partcnn.app.cli.report
import partcnn.app.cli.train
import partcnn.app.runs.training
import partcnn.evaluation.measurement
import partcnn.reporting.writing  # noqa: F401
