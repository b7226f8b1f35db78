"""What a network's layers give and see, found by running it once: shapes, receptive fields, the layer to choose."""
