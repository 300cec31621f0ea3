"""Options to one audit call to writers to an exit code; the only place that prints."""
