"""Workflows that run on a fresh hub, and the Python functions that their steps call."""
