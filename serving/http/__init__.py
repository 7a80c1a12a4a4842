"""The service: routes, the shapes of requests and answers, and their limits."""
