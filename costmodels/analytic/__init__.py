"""Analytic accelerators: time and energy from formulas.

A model is a class with a docstring that states its formula, and one line in the table of :mod:`.models`.
"""
