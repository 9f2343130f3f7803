"""A report for people: originals beside what denoising made of them, as web pages."""

from monai_dental.report.compare import Comparison, Figures, compare
from monai_dental.report.entry import Entry
from monai_dental.report.run import sample_evenly, write_report

__all__ = ["Comparison", "Entry", "Figures", "compare", "sample_evenly", "write_report"]
