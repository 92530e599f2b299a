"""`attune demo`: attune at work in a scripted world, beside the same traffic without it.

Everything shown is measured: real SDK clients, real HTTP, real telemetry. Only the provider is scripted, and time is
compressed.
"""
