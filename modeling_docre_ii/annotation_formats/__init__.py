"""Annotation formats: exports of annotation tools become documents."""
