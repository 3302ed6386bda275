"""Pictures with boxes: formats that other programs read and write, and sets of them by name."""
