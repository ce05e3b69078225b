"""Every error a user can meet, as one tree; each says what was found, what was wanted and what to do.

MetierError                     exit 3  a fault of ours or of the machine
├── InputError                  exit 2  the user's input
│   ├── SettingsError                   a setting is unknown, of the wrong type or out of range
│   ├── DataError                       a row, a file or a snapshot
│   ├── ModelError                      a base model folder, its weights or its configuration
│   ├── ProofError                      rendered rows that would train something other than what was meant
│   └── MissingExtraError               an optional dependency that is not installed
├── AnswerNo                    exit 1  the answer is no
│   ├── ParityError                     what was saved, reloaded or merged is not what was trained
│   ├── VerificationError               the engine does not compute what the plain step computes
│   ├── GateError                       the model does not hold to what `gate:` in metier.yaml asks
│   └── SignatureError                  a version is not what was signed, or nobody trusted has signed it
└── RunError                    exit 3  something went wrong while running
    ├── NonFiniteError                  a loss, gradient or weight is not a number
    ├── LossSpikeError                  a loss far above those of the steps before it
    ├── DivergenceError                 a replayed step differs from its log
    ├── DiskFullError                   no space left on the device
    ├── BusyError                       more is asked for at once than the machine takes on
    ├── LockedError                     another process works on the same run
    └── InterruptedRun          exit 75 stopped on request after publishing; run the same command again
"""


class MetierError(Exception):
    """The root. `str(error)` is the one line a user reads.

    Args:
        found: what was there, with `file:line` for data.
        wanted: what should have been there; may be empty.
        do: what the user can do about it; may be empty.
    """

    exit_code = 3

    def __init__(self, found: str, wanted: str = "", do: str = "") -> None:
        super().__init__(found, wanted, do)
        self.found = found
        self.wanted = wanted
        self.do = do

    def __str__(self) -> str:
        """Join the three parts into sentences."""
        parts = [self.found]
        if self.wanted:
            parts.append(f"wanted: {self.wanted}")
        if self.do:
            parts.append(f"do: {self.do}")
        return "; ".join(parts)


class InputError(MetierError):
    """The user's input is at fault."""

    exit_code = 2


class SettingsError(InputError, ValueError):
    """A setting is unknown, of the wrong type or out of range."""


class DataError(InputError, ValueError):
    """A row, a data file or a snapshot cannot be used."""


class ModelError(InputError, ValueError):
    """A base model folder, its weights or its configuration cannot be used."""


class ProofError(InputError, ValueError):
    """The rendered rows would train something other than what was meant."""


class MissingExtraError(InputError, ImportError):
    """An optional dependency is not installed; `do` holds the line that installs it."""


class AnswerNo(MetierError):
    """The tool ran to its end and the answer is no."""

    exit_code = 1


class ParityError(AnswerNo):
    """A hop between trained, saved, reloaded and merged changed the model; `found` names the hop."""


class VerificationError(AnswerNo):
    """A check of `metier verify` does not hold; `found` names it."""


class GateError(AnswerNo):
    """The model does not hold to what `gate:` in metier.yaml asks; `found` names the conditions."""


class SignatureError(AnswerNo):
    """A version is not what was signed, or nobody who is trusted has signed it; `found` names what is wrong."""


class RunError(MetierError, RuntimeError):
    """Something went wrong while running that the input does not explain."""


class NonFiniteError(RunError):
    """A loss, a gradient or a weight is infinite or not a number."""


class LossSpikeError(RunError):
    """A loss leapt far above those of the steps before it, and the guard was told to stop."""


class DivergenceError(RunError):
    """A step replayed after a resume does not equal the step in the log."""


class DiskFullError(RunError, OSError):
    """No space is left on the device, or a quota or the largest size of a file is reached; `found` says which."""


class BusyError(RunError):
    """More is asked for at once than is taken on; the same will do in a moment."""


class LockedError(RunError):
    """Another living process works on the same run directory, or trains on the same device."""


class InterruptedRun(RunError):
    """Stopped on request after publishing a checkpoint: the same command goes on."""

    exit_code = 75
