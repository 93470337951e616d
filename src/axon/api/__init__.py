"""The versioned JSON API: its types, its server, its client and the document that describes it."""
