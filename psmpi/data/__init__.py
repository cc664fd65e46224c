"""Data sets: by name or from a file, read, cached, and split over workers.

May import ``base``, ``errors`` and ``random``; knows no objective (those are in
``psmpi.problems``) and no algorithm.
"""
