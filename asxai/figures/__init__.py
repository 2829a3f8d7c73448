"""How tables and arrays are drawn, a module per notebook. Each function gives `(figure, table)`; none knows a study."""
