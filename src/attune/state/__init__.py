"""Remember across processes of one machine: what they measured, and where their readers stopped.

What a row says is decided elsewhere; nothing here is ever on a call's path.
"""
