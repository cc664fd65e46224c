"""The command line, ``psmpi``.

``app`` turns words into commands, ``run_command`` does so for ``psmpi run`` with the
options of one algorithm; ``commands`` has what the commands do, ``progress`` shows how
runs go on, ``listing`` prints names, ``folders`` finds directories, and ``help`` holds
the texts. Whatever ``--help`` doesn't need is imported where it is used, so that help
appears at once. May import every other room; nothing imports this one but
``psmpi.__main__``.
"""
