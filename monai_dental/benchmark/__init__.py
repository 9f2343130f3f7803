"""Evaluation: scores to CSV, tables and figures."""
