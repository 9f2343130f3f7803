"""A report for human readers: web pages with originals beside their denoised images."""

from monai_dental.report.compare import Comparison, Figures, compare
from monai_dental.report.entry import Entry
from monai_dental.report.run import sample_evenly, write_report

__all__ = ["Comparison", "Entry", "Figures", "compare", "sample_evenly", "write_report"]
