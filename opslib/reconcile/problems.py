"""What the server refuses, as a problem at the line of Git that it is about."""

from __future__ import annotations

import re

from opslib.core.errors import OpslibError
from opslib.core.model import Origin, Resource
from opslib.kube.errors import ApiError
from opslib.reconcile.mask import scrubbed
from opslib.reconcile.plan import PlanProblem

_STEP = re.compile(r"[^.\[\]]+")
_UNDECLARED = re.compile(r"\.([\w.\[\]\"=,/-]+): field not declared in schema")
_UNKNOWN = re.compile(r'unknown field "([^"]+)"')


def problem_of(error: OpslibError, resource: Resource) -> PlanProblem:
    """Turn the server's refusal into a problem at the line of the field that it names."""
    origin = resource.origin
    message = scrubbed(error.what, resource.manifest)
    fields = [cause.field for cause in error.causes] if isinstance(error, ApiError) else []
    fields += _UNDECLARED.findall(message) + _UNKNOWN.findall(message)
    for field in fields:
        pointer = "/" + "/".join(_STEP.findall(field))
        line = resource.line_of(pointer)
        if line != origin.line:
            origin = Origin(origin.path, line)
            break
    return PlanProblem(resource.key, origin, message, _hint(error))


def _hint(error: OpslibError) -> str:
    if not isinstance(error, ApiError):
        return error.hint or ""
    if error.code == 403:
        return "grant this right to the user of the kubeconfig, or use another context"
    if error.hint:
        return error.hint
    if error.code == 409:
        return "another field manager owns this field: remove it from one of the two"
    if error.code in {400, 422, 500}:
        return "mend the file; `kubectl explain` describes the fields of a kind"
    return ""
