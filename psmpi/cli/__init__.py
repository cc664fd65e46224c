"""The command line: what the words mean (``app``) and what they do (``commands``).

May import every other room; nothing imports this one but ``psmpi.__main__``.
"""
