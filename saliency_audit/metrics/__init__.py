"""Measured quantities: one function a file, one line here."""
