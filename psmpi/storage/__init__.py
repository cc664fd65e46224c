"""Files that survive a crash: atomic writing, trees of arrays, and checkpoints.

``atomic`` replaces files so that a reader sees all of a file or none of it. ``tree``
stores nested values with arrays in npz files, without pickle. ``checkpoints`` holds the
checkpoints of one run: a part from every rank, made valid by a manifest that is written
last. May import base and errors; nothing here knows what the values mean.
"""
