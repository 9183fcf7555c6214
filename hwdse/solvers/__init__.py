"""Solvers of a Problem."""
