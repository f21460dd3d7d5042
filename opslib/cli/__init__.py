"""The command line: one thin module per verb; every verb is a Python function first."""
