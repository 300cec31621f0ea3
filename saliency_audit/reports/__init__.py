"""Rows in, files out; knows no torch."""
