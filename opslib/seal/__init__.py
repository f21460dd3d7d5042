"""Secrets in Git: sealed for one cluster as Sealed Secrets does it; judged, edited, renewed."""
