"""Scoring: prediction, Grad-CAM, aggregation by person, overlays, the report, and ONNX export."""
