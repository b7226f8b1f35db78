"""Tests, in folders under the names of the packages; what several of them need lies here."""
