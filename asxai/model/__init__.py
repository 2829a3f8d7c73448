"""The Proto-CNN: backbone, basis vectors, their losses and training (section 2.2, equations 1 to 4)."""
