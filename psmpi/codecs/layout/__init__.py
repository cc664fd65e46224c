"""Byte layouts that several codecs share: blocks, index streams, sparse frames.

May import kernels, ``base``, ``errors`` and ``psmpi.codecs.validation``.
"""
