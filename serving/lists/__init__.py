"""From a request's users and items to ranked lists."""
