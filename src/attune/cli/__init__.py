"""The command line: speaks to people, and decides nothing."""
