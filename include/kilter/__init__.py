"""Kilter keeps production models in kilter: it retrains, validates, rolls out and rolls back."""

__version__ = "0.1.0"
