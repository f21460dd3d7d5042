"""Policy: what must hold for desired objects before anything is planned.

``check`` runs the rules over rendered resources and returns a Report of findings, each
with what is wrong, why it matters, how to mend it, and file and line. ``load_policy``
reads a policy file: the severity of each rule, and dated exceptions with a reason.

No text of a finding ever holds a value of a manifest, only names of fields and keys, so
that a report may go into a log or a record. The schema check imports jsonschema when it
runs, not before.
"""

from opslib.policy.engine import check
from opslib.policy.load import load_policy
from opslib.policy.model import (
    ADVISORY,
    DEFAULT,
    RULES,
    Exemption,
    Finding,
    Policy,
    Report,
    Rule,
    Severity,
    Target,
)

__all__ = [
    "ADVISORY",
    "DEFAULT",
    "RULES",
    "Exemption",
    "Finding",
    "Policy",
    "Report",
    "Rule",
    "Severity",
    "Target",
    "check",
    "load_policy",
]
