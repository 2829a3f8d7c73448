"""Scores, rules and sentences: one picture explained (section 2.3.4, equations 12 and 13)."""
