"""What is measured, a module per notebook; each takes studies or methods and returns tidy tables."""
