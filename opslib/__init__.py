"""Operations on Kubernetes from Git, as notebooks.

Rooms import downwards only (``lint-imports`` holds it)::

    cli > view > runbook > rollout > reconcile > policy > source > kube, bench > sandbox > core

Importing ``opslib`` loads nothing else: start-up time is a feature.
"""

__version__ = "0.1.0"
