"""Tables to arrays: data sets, splits, vocabularies, and batches of declared features."""
