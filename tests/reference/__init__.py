"""Slow twins: each formula written again from its equation, in Python floats and loops.

They import nothing of partcnn, so that an error in the library cannot hide in its own test. Arrays are numpy
float64, used as storage only; indices follow the equations. Axes: image b, filter f, row i, col j, template T.
"""
