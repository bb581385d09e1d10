"""The two kinds of failure that cross a port, told apart by what happens next; anything else is a bug."""


class DataHarvestError(Exception):
    """A failure with its details kept apart from its text, so that logs and tables can show both."""

    def __init__(self, message: str, **details: object) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


class Rejected(DataHarvestError):
    """The input can never succeed; keep it with its reason and go on.

    ``rule`` is the stable name of the rule that was broken, for example ``missing_column``.
    """

    def __init__(self, message: str, *, rule: str, **details: object) -> None:
        super().__init__(message, **details)
        self.rule = rule


class ContractTrouble(Rejected):
    """A stored contract can't be read by this version of the program; what is to be read under it waits until it is replaced.

    ``rule`` is ``unknown_contract`` (it is not stored) or ``invalid_contract`` (it names what the program does not know).
    """


class Unavailable(DataHarvestError):
    """An outside service failed; the same call may succeed later."""


class Misconfigured(DataHarvestError):
    """Settings, schema or topics are not what this version needs; says what to do about it."""


class ObjectTrouble(DataHarvestError):
    """One object cannot be read now while the service works; that delivery waits and the rest goes on.

    ``code`` is the HTTP status: 403 (forbidden), 404 (gone), 412 (another object is under the key now).
    """

    def __init__(self, message: str, *, code: int, **details: object) -> None:
        super().__init__(message, **details)
        self.code = code
