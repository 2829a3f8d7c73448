"""What can be compared: this study and other ways to concepts and maps, all under one contract (`base`)."""
