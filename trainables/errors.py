"""The two kinds of fault that a user can mend, each with its exit status."""


class ConfigError(Exception):
    """The recipe, a flag or the machine asked for does not fit (exit status 2)."""

    exit_status = 2


class DataError(Exception):
    """Photos, annotations or weights are missing, damaged or contradictory (exit status 65)."""

    exit_status = 65
