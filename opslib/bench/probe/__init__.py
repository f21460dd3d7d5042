"""The probes, their result files and what the machine is: the standard library alone.

Nothing here imports more than ``opslib.core.errors``: ``pack`` puts this folder into one file that
runs on a server where nothing may be installed, with Python 3.8 or newer. So no syntax and
no function that came later.
"""
