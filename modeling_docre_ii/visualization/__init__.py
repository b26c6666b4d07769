"""Visualization: documents with their entities and triples, as HTML pages."""
