"""Work on untrusted input in a process of its own, which a limit of time or memory ends.

``process.py`` is the side that asks, ``child.py`` the side that works, ``frames.py`` what passes between them,
``clock.py`` what ends it in time,
``idle.py`` the workers between two pieces of work.
"""
