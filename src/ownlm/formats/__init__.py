"""Quantized blocks, byte for byte. NumPy only, and only when something is quantized."""
