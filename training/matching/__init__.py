"""Training of entity matchers: from labelled pairs to a bundle."""
