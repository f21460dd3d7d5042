"""Drift: what differs from Git that no plan made, who did it, since when, and what is decided."""
