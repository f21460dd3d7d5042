"""Leak scan: secret values that stand in the open, in files, in what is staged, in all history.

``files.scan_bytes`` reads one file; ``collect`` walks a working tree, an index or a history.
Documents are read by their structure: what a value is called, and what holds it, says more than
what it looks like. No finding ever holds a value, a part of one, or a hash of one.
"""
