"""One request, judged by the text of policies: the reference, and what a person asks of it."""
