"""The command line and what it runs: runs, demo, experiments."""
