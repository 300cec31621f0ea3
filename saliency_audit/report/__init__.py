"""The kit of every report: folder, tables, pictures, page; knows no torch."""

# Before anything else draws: whose settings pictures have must not depend on who came first.
import saliency_audit.drawing  # noqa: F401
