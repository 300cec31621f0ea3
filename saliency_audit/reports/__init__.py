"""Rows in, files out; knows no torch."""

import saliency_audit.drawing  # noqa: F401  (before anyone else imports Matplotlib)
from saliency_audit.reports.folder import RunFolder
from saliency_audit.reports.fool import write_fool_report
from saliency_audit.reports.summary import summarise
from saliency_audit.reports.tables import read_results

__all__ = ["RunFolder", "read_results", "summarise", "write_fool_report"]
