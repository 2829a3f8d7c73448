"""Pictures and data sets: what is read, checked, split, augmented, and turned into features (section 3.1)."""
