"""Errors a user can act on."""


class UserError(Exception):
    """Something that the user can fix: shown as one message, without a traceback, exit code 1.

    The message says what is wrong, what was got, what was expected, and the remedy.
    """
