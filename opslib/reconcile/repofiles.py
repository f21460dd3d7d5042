"""The kit's own files in a repository, at one commit: the policy, health rules, an app's file."""

from __future__ import annotations

import posixpath

from opslib.core.model import Revision
from opslib.policy import ADVISORY, Policy, load_policy
from opslib.reconcile.appfile import APP_FILE, AppFile, load_appfile
from opslib.reconcile.health_file import SHIPPED, HealthRules, load_health_rules
from opslib.source.mirror import Mirror

POLICY_FILE = "policy.yaml"
HEALTH_FILE = "health.yaml"


def policy_at(mirror: Mirror, revision: Revision) -> Policy:
    """Return the policy at the root of the repository at this commit, else mere advice."""
    text = _read(mirror, revision, "", POLICY_FILE)
    return ADVISORY if text is None else load_policy(text, POLICY_FILE)


def health_at(mirror: Mirror, revision: Revision) -> HealthRules:
    """Return the health rules at the root of the repository at this commit.

    Those of the package stand behind them. Raises Problems that name file and line.
    """
    text = _read(mirror, revision, "", HEALTH_FILE)
    return SHIPPED if text is None else load_health_rules(text, HEALTH_FILE)


def appfile_at(mirror: Mirror, revision: Revision) -> AppFile:
    """Return what the folder says of its app, in ``opslib.yaml``; nothing where it is not.

    Raises InputError, or Problems with every mistake and its line.
    """
    text = _read(mirror, revision, revision.path, APP_FILE)
    path = posixpath.join(revision.path, APP_FILE).lstrip("/")
    return AppFile() if text is None else load_appfile(text, path)


def _read(mirror: Mirror, revision: Revision, folder: str, name: str) -> str | None:
    path = posixpath.join(folder, name).lstrip("/")
    if path not in mirror.files(revision.commit, folder):
        return None
    return mirror.read(revision.commit, path).decode("utf-8", errors="replace")
