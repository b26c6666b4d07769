"""Deployment: ONNX and bulk extraction."""
