"""The command line: speaks to people, and decides nothing.

Each command is a file of its own, put together in `main.py`; what a command needs is loaded when it runs.
"""
