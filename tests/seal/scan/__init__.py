"""Tests of the leak scan."""
