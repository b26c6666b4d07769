"""Evaluation: scores, metrics for `evaluate`, submissions, tables, reports."""
