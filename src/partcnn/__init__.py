"""Part filters for any CNN."""
