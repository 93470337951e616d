"""What people look at in a terminal: the live table, flows, plain text."""
