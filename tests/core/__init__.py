"""Files, folders and processes: what everything else stands on."""
