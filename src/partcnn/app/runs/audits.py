"""The audit of a run, kept beside its figures."""

import logging
from dataclasses import replace

from partcnn.app.runs.opening import Run, about, features_of
from partcnn.evaluation.audit import audit
from partcnn.evaluation.audit_result import Audit
from partcnn.model.mask import top_mask
from partcnn.model.network import PartNetwork, conversion_of
from partcnn.model.saving.shipped import is_shipped

_log = logging.getLogger("partcnn")
AUDIT_FILE = "audit.json"


def audit_run(run: Run, *, num_workers: int = 0) -> Audit:
    """Audit a run on the pictures kept out of it, and write audit.json; the package's own run stays as it is.

    Maps of these pictures that training has kept do not pass the trunk again.

    Raises:
        LayerError: the head is no sum of parts.
    """
    features = features_of(run, run.cache, num_workers=num_workers)
    found = audit(run.model, run.dataset("test"), num_workers=num_workers, features=features)
    found = replace(found, run=about(run))
    if is_shipped(run.directory):
        return found
    try:
        found.to_json(run.directory / AUDIT_FILE)
    except OSError as error:
        _log.warning("%s: the audit is not kept: %s", run.directory, error)
    return found


def run_audit(run: Run) -> Audit | None:
    """The audit in audit.json, made now where it is missing or of other weights; None of a head that is no sum, and of
    a multi-label task.

    Raises:
        DataError: audit.json is malformed.
    """
    if not isinstance(run.model, PartNetwork) or conversion_of(run.model).settings.multilabel:
        return None
    file = run.directory / AUDIT_FILE
    if file.is_file():
        kept, num_filters = Audit.from_json(file), top_mask(run.model)[1].num_filters
        if kept.run.get("weights") == about(run)["weights"] and kept.num_filters == num_filters:
            return kept
    return audit_run(run)
