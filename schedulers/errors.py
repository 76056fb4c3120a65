"""What is wrong with a setting, in parts that a program can place."""

from __future__ import annotations


class InvalidSetting(ValueError):
    """A setting of a rule or of a domain that makes no sense.

    Attributes:
        parameter: whose value it is: a keyword of the rule, or a word of the domain; "" where it is none's.
        what: what is wrong.
        fix: how to fix it; may be empty.
    """

    def __init__(self, parameter: str, what: str, fix: str = "") -> None:
        super().__init__(f"{what}; {fix}" if fix else what)
        self.parameter, self.what, self.fix = parameter, what, fix

    def __reduce__(self) -> tuple[type[InvalidSetting], tuple[str, str, str]]:
        return type(self), (self.parameter, self.what, self.fix)
