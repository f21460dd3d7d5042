"""What a machine is set to, read without root and with the standard library alone.

The modules of this folder import nothing but the standard library (3.8) and each other:
``onefile`` makes one file of them, for a machine where nothing may be installed.
"""
