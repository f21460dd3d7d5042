"""Names that Sealed Secrets has by default; apart, so that nothing is loaded for them."""

from __future__ import annotations

CONTROLLER_NAMESPACE = "kube-system"
CONTROLLER_NAME = "sealed-secrets-controller"
