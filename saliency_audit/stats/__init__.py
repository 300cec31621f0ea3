"""Rows in, frames out: means with intervals, paired differences, densities."""
