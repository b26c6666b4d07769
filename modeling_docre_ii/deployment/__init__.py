"""Deployment: ONNX and extraction in bulk."""
