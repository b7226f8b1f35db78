"""One reader per kind of data set, and the files they read."""
