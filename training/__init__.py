"""Training, evaluation, tracking and the command line: Lightning and MLflow around the models of `recsys`."""
