"""The one error that a user can act on."""


class UserError(ValueError):
    """One sentence: what is wrong and what to do. Scripts print it and exit with code 1."""
