"""The error of a wrong setting, with fields that a program can read."""

from __future__ import annotations


class InvalidSetting(ValueError):
    """An invalid setting of a rule or of a domain.

    Attributes:
        parameter: the keyword of the rule, or the field of the domain, that is wrong; "" if no single one is.
        what: what is wrong.
        fix: how to fix it; may be empty.
    """

    def __init__(self, parameter: str, what: str, fix: str = "") -> None:
        super().__init__(f"{what}; {fix}" if fix else what)
        self.parameter, self.what, self.fix = parameter, what, fix

    def __reduce__(self) -> tuple[type[InvalidSetting], tuple[str, str, str]]:
        return type(self), (self.parameter, self.what, self.fix)


def require_at_least(least: float, **settings: float) -> None:
    """Check that none of the settings is below `least`, or NaN.

    Raises:
        InvalidSetting: for the first setting that is.
    """
    for name, value in settings.items():
        if not value >= least:
            raise InvalidSetting(name, f"{name} ({value}) must be at least {least}")
