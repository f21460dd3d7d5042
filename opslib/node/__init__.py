"""Node state: what a machine is set to, against its baseline in Git, its files and its peers.

``facts`` reads a machine with the standard library alone. ``baseline`` reads what Git declares,
``check`` puts the four planes side by side: desired, persisted, running, peers.
"""
