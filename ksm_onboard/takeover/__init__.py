"""Taking over a member: from what its old systems export to a review and a proposed declaration.

``run_import`` does it all. Stages, one module each: ``tables`` and ``columns`` (files), ``read`` (records),
``titles``, ``ignored`` and ``matching`` (what software is), ``decisions`` (what a person said it is),
``grouping`` (departments and profiles), ``analysis``, ``propose`` and ``review`` (what comes out).
"""

from ksm_onboard.takeover.read import Sources
from ksm_onboard.takeover.run import ExportsRefusedError, ImportResult, run_import

__all__ = ["ExportsRefusedError", "ImportResult", "Sources", "run_import"]
