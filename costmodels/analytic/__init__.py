"""Analytic accelerators."""
