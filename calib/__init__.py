"""Calibration and quantization to INT8."""
