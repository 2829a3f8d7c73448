"""How finely structured filter maps are, and R_s, the importance of a concept (section 2.3.1, equations 5 and 6)."""
