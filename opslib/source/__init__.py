"""Git as the source of truth: mirrors, revisions, rendering, upgrades of old manifests."""
