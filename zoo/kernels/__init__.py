"""Triton kernels behind the scan and the short convolution.

Triton is a part of the `gpu` extra, so the modules here are loaded by the backend that first needs
one; this file imports nothing.
"""
