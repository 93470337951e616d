"""What a policy says: the model that files are read into, and the words that it is made of."""
