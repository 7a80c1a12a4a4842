"""What changes while a model is served: events of its users, and what is written down of its answers."""
