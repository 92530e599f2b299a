"""The way of one call, from the call site to its record.

`plan.py` owns the order of steps; every other file here serves it.
"""

__all__: tuple[str, ...] = ()
