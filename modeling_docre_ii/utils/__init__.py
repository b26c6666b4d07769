"""Helpers that know nothing of relation extraction."""
