"""The two ways a measurement ends early without being a bug."""


class BenchError(Exception):
    """A mistake of the user's or of the environment's.

    The message is one line that says what is wrong, where, and what to do about it; it is shown
    without a traceback.
    """


class NotApplicable(Exception):
    """A combination that has no meaning (say, BatchNorm statistics of a network without any).

    The cell is recorded as skipped with this message as the reason.
    """
