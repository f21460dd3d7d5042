"""Is this disk good enough for etcd, and is it better than the other one.

``probe`` measures and needs Python's standard library alone; the rest judges, with numpy::

    probe (wal, watch, storm, network) -> result file -> statistics -> verdict, comparison
"""
