"""Benchmarks of the command line: finished runs, or runs trained for it, as tables."""
