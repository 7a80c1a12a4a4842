"""The one exception that means "the user's input is wrong", as opposed to "this library is wrong"."""


class InputError(ValueError):
    """Input that cannot be used, told in one sentence that names the column, row, file or setting at fault.

    The command line prints it as its only line and ends with status 2; the HTTP service answers 422 with it.
    """
