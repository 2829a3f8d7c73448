"""How tables and arrays are drawn, a module per notebook; none of them knows a study."""
