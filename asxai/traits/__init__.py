"""What all pictures of a class have in common in a concept (section 2.3.2, equations 7 to 11)."""
