"""Network builders: Keras 3 layers and `keras.ops` only, so that every backend trains them."""
