"""What the saga and its participants say to each other."""

from __future__ import annotations

from oms.kit import Command, CompensationOutcome, Name, OutcomeEvent, Reference, Rejection

REGISTRAR = "registrar"
LIBRARY = "library"


class TakeSeats(Command):
    """Take a seat in each of the courses. All of them or none."""

    participant = REGISTRAR
    courses: tuple[Name, ...]


class SeatsTaken(OutcomeEvent):
    """A seat is taken in each."""

    key = "registrar.seats_taken"
    courses: tuple[Name, ...]


class NoSeat(Rejection):
    """A course is full (``full``), or there is no such course (``unknown_course``)."""

    key = "registrar.no_seat"


class FreeSeats(Command):
    """Give the seats back."""

    participant = REGISTRAR


class SeatsFreed(CompensationOutcome):
    """No seat is taken any more."""

    key = "registrar.seats_freed"


class IssueCard(Command):
    """Issue a library card."""

    participant = LIBRARY
    student: Name


class CardIssued(OutcomeEvent):
    """There is a card."""

    key = "library.card_issued"
    card: Reference


class RevokeCard(Command):
    """Revoke it."""

    participant = LIBRARY


class CardRevoked(CompensationOutcome):
    """It opens no door any more."""

    key = "library.card_revoked"


class ActivateCard(Command):
    """Let the card open the doors."""

    participant = LIBRARY
    card: Reference


class CardActivated(OutcomeEvent):
    """It does."""

    key = "library.card_activated"
