"""From basis vectors to semantic concepts: masks, cells, groups, names (section 2.2, Figure 2a)."""
