"""How tables and arrays are drawn, a module per notebook. Each function gives `(figure, table)`; none knows a study.

Of many classes or concepts a figure shows the first, and says so in its title; its table holds all.
"""
