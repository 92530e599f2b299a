"""The way of one call. `plan.py` owns the order of steps; every other file here serves it."""
